package dev.gregale.config;

import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.net.URI;
import java.net.URISyntaxException;
import java.net.URL;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Objects;

/** The demo model that ships inside, as a directory like any other. */
final class BundledModel {
  static final String NAME = "fairytale-moe-7m";
  private static final String FOLDER = "/models/" + NAME + "/";
  private static final List<String> FILES =
      List.of(
          "config.json",
          "generation_config.json",
          "model.safetensors",
          "special_tokens_map.json",
          "tokenizer.json",
          "tokenizer_config.json");

  private BundledModel() {}

  /**
   * Where the model lies: in the build's own folder, or, if it is inside a jar, in a private
   * temporary directory that it is unpacked to and that goes when the JVM does.
   */
  static Path directory() {
    URL config = Objects.requireNonNull(BundledModel.class.getResource(FOLDER + FILES.getFirst()));
    try {
      return config.getProtocol().equals("file") ? parent(config.toURI()) : unpack();
    } catch (URISyntaxException e) {
      throw new IllegalStateException(e);
    } catch (IOException e) {
      throw new UncheckedIOException("cannot unpack the demo model; is the disk full?", e);
    }
  }

  private static Path parent(URI file) {
    return Objects.requireNonNull(Path.of(file).getParent());
  }

  private static Path unpack() throws IOException {
    Path root = Files.createTempDirectory("gregale-model-");
    Path directory = Files.createDirectory(root.resolve(NAME));
    root.toFile().deleteOnExit();
    directory.toFile().deleteOnExit();
    for (String file : FILES) {
      try (InputStream in =
          Objects.requireNonNull(BundledModel.class.getResourceAsStream(FOLDER + file))) {
        Path target = directory.resolve(file);
        Files.copy(in, target);
        target.toFile().deleteOnExit();
      }
    }
    return directory;
  }
}
