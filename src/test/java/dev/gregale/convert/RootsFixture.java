package dev.gregale.convert;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.io.TempDir;

/** A root with a model, and links that lead to it, out of it and nowhere. */
abstract class RootsFixture {
  @TempDir Path folder;

  Path root = Path.of("");

  Path secret = Path.of("");

  @BeforeEach
  void links() throws IOException {
    root = Files.createDirectory(folder.resolve("root"));
    Path model = Files.createDirectories(root.resolve("sub/model"));
    Files.writeString(model.resolve("config.json"), "{}");
    secret = Files.createDirectory(folder.resolve("secret"));
    Files.createDirectory(secret.resolve("model"));
    Files.writeString(secret.resolve("config.json"), "{}");
    Files.createSymbolicLink(root.resolve("alias"), model);
    Files.createSymbolicLink(root.resolve("outside"), secret);
    Files.createSymbolicLink(root.resolve("outside-file"), secret.resolve("config.json"));
    Files.createSymbolicLink(root.resolve("nowhere"), folder.resolve("not/there"));
    Files.createSymbolicLink(root.resolve("loop"), root.resolve("loop"));
    Files.createSymbolicLink(root.resolve("up"), Path.of(".."));
  }

  ConversionRoots roots() {
    return ConversionRoots.of(List.of(root));
  }
}
