package dev.gregale.convert;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.List;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.Test;

/** What happens when something goes wrong half-way. */
class ConversionFaultTest extends ConversionFixture {
  private static final String NO_SPACE = "No space left on device";

  private void fails(FaultyChannel.Fault fault, String message) {
    assertThatThrownBy(() -> faulty(fault).convert(request, progress -> {}))
        .isInstanceOf(IOException.class)
        .hasMessageContaining(message);
    assertThat(target).doesNotExist();
  }

  /** Each of the writes, forces and truncations fails once; then the same call goes on. */
  @Test
  void everyOperationMayFail() throws IOException {
    AtomicInteger operations = new AtomicInteger();
    faulty(
            (operation, bytes) -> {
              operations.incrementAndGet();
              return Integer.MAX_VALUE;
            })
        .convert(request, progress -> {});
    assertFinished();
    assertThat(operations.get()).isGreaterThan(80);
    int resumed = 0;
    for (int failing = 0; failing < operations.get(); failing++) {
      Models.remove(target);
      AtomicInteger left = new AtomicInteger(failing);
      fails(
          (operation, bytes) -> {
            if (left.getAndDecrement() == 0) {
              throw new IOException(NO_SPACE);
            }
            return Integer.MAX_VALUE;
          },
          NO_SPACE);
      resumed += Models.convertQuickly(request).resumedBytes() > 0 ? 1 : 0;
      assertFinished();
    }
    assertThat(resumed).isGreaterThan(operations.get() / 2);
  }

  @Test
  void shortWritesAreGoneOnWith() throws IOException {
    faulty((operation, bytes) -> 977).convert(request, progress -> {});
    assertFinished();
  }

  @Test
  void aFileThatTakesNothingEndsIt() {
    AtomicInteger left = new AtomicInteger(20);
    fails(
        (operation, bytes) -> left.getAndDecrement() > 0 ? Integer.MAX_VALUE : 0,
        "the file takes no more bytes");
  }

  /** A disk that says yes and has something else: whichever tensor it is. */
  @Test
  void whatIsReadBackMustBeWhatWasWritten() throws IOException {
    for (int read = 0; read < 41; read++) {
      AtomicInteger left = new AtomicInteger(read);
      fails(
          new FaultyChannel.Fault() {
            @Override
            public int before(String operation, ByteBuffer bytes) {
              return Integer.MAX_VALUE;
            }

            @Override
            public boolean misreads() {
              return left.getAndDecrement() == 0;
            }
          },
          ": read back, it is not what was written");
      new CheckpointConverter(null).discard(target);
    }
    Models.convert(request);
    assertFinished();
  }

  /** Somebody cuts the source while it is read; its mapping then has pages without a file. */
  @Test
  void aSourceThatIsCutShortEndsIt() throws IOException {
    Path source = Files.createDirectory(folder.resolve("source"));
    for (String name : List.of("config.json", "model.safetensors")) {
      Files.copy(Models.ODD0.resolve("te").resolve(name), source.resolve(name));
    }
    assertThatThrownBy(
            () ->
                new CheckpointConverter(Channels.SYSTEM, SMALL_BATCH, null)
                    .convert(sharded(source, false, false), progress -> cut(source)))
        .isInstanceOf(IOException.class)
        .hasMessageContaining("the source cannot be read, it was cut short or its disk fails");
    assertThat(target).doesNotExist();
  }

  private static void cut(Path source) {
    try (FileChannel file =
        FileChannel.open(source.resolve("model.safetensors"), StandardOpenOption.WRITE)) {
      file.truncate(10_000);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }
}
