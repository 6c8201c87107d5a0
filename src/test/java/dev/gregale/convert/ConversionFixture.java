package dev.gregale.convert;

import static org.assertj.core.api.Assertions.assertThat;

import dev.gregale.checkpoint.CheckpointLayout;
import dev.gregale.quantization.Quantization;
import java.io.IOException;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.io.TempDir;

/** Conversions of odd0, in TransformerEngine's layout, into eight files of Hugging Face's. */
abstract class ConversionFixture {
  static final long SMALL_BATCH = 100_000;

  @TempDir Path folder;

  Path target = Path.of("");

  Path partial = Path.of("");

  ConversionRequest request = ConversionRequest.of(target, target);

  @BeforeEach
  void paths() {
    target = folder.resolve("hf");
    partial = folder.resolve(".hf.partial");
    request = sharded(Models.ODD0.resolve("te"), false, false);
  }

  ConversionRequest sharded(Path source, boolean overwrite, boolean resume) {
    return new ConversionRequest(
        source,
        target,
        CheckpointLayout.HUGGING_FACE,
        null,
        Quantization.NONE,
        false,
        150_000,
        1,
        overwrite,
        resume);
  }

  static CheckpointConverter faulty(FaultyChannel.Fault fault) {
    return new CheckpointConverter(
        (path, options) -> new FaultyChannel(FileChannel.open(path, options), fault),
        SMALL_BATCH,
        null);
  }

  void assertFinished() throws IOException {
    Path expected = Models.ODD0.resolve("hf-sharded");
    try (Stream<Path> files = Files.list(expected)) {
      for (Path file : files.toList()) {
        if (!file.endsWith("generation_config.json")) {
          Path found = target.resolve(file.getFileName());
          assertThat(Files.mismatch(found, file)).as(found.toString()).isEqualTo(-1);
        }
      }
    }
    assertThat(folder).isDirectoryNotContaining("glob:**/.hf.*");
    assertThat(target.resolve(Journal.FILE_NAME)).doesNotExist();
  }
}
