package dev.gregale.convert;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.gregale.checkpoint.TensorInfo;
import java.io.IOException;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.List;
import java.util.concurrent.CancellationException;
import java.util.concurrent.atomic.AtomicLong;
import org.junit.jupiter.api.Test;

/** Conversions that were interrupted, and targets that are there already. */
class ConversionResumeTest extends ConversionFixture {
  /** Stops when that many bytes have been read back. */
  private void stopAfter(long bytes) {
    assertThatThrownBy(
            () ->
                new CheckpointConverter(Channels.SYSTEM, SMALL_BATCH, null)
                    .convert(
                        request,
                        progress -> {
                          if (progress.bytesDone() > bytes) {
                            throw new CancellationException("enough");
                          }
                        }))
        .isInstanceOf(CancellationException.class);
    assertThat(target).doesNotExist();
    assertThat(partial).isDirectory();
  }

  @Test
  void goesOnAtTheFirstUnfinishedTensor() throws IOException {
    stopAfter(600_000);
    List<String> journal = Files.readAllLines(partial.resolve(Journal.FILE_NAME));
    AtomicLong rewritten = new AtomicLong();
    ConversionResult result =
        faulty(
                (operation, bytes) -> {
                  rewritten.addAndGet(bytes.remaining());
                  return Integer.MAX_VALUE;
                })
            .convert(request, progress -> {});
    assertFinished();
    long done = 0;
    try (ConversionPlan plan = ConversionPlan.open(request)) {
      List<TensorInfo> tensors = plan.tensors();
      for (int i = 0; i + 1 < journal.size(); i++) {
        assertThat(journal.get(i + 1)).endsWith("  " + tensors.get(i).name());
        done += tensors.get(i).bytes();
      }
    }
    assertThat(result.resumedBytes()).isEqualTo(done).isGreaterThan(250_000);
    assertThat(rewritten.get()).isLessThan(result.bytes() - done + 30_000); // headers, index, sums
  }

  @Test
  void aTornJournalAndALostFileAreDoneAgain() throws IOException {
    stopAfter(600_000);
    Path journal = partial.resolve(Journal.FILE_NAME);
    try (FileChannel file = FileChannel.open(journal, StandardOpenOption.WRITE)) {
      file.truncate(file.size() - 5);
    }
    stopAfter(600_000);
    byte[] shard = Files.readAllBytes(partial.resolve("model-00002-of-00008.safetensors"));
    shard[shard.length - 1] ^= 1;
    Files.write(partial.resolve("model-00002-of-00008.safetensors"), shard);
    assertThat(Models.convert(request).resumedBytes()).isBetween(200_000L, 280_000L);
    assertFinished();
  }

  @Test
  void aConversionOfSomethingElseIsNotGoneOnWith() throws IOException {
    stopAfter(300_000);
    ConversionRequest other = sharded(Models.ODD1, false, false);
    assertThatThrownBy(() -> Models.convert(other))
        .isInstanceOf(TargetException.class)
        .hasMessageStartingWith(partial + ": an interrupted conversion of another source");
    assertThatThrownBy(() -> Models.convert(sharded(Models.ODD1, true, true)))
        .isInstanceOf(TargetException.class);
    assertThat(Models.convert(sharded(Models.ODD0.resolve("te"), false, true)).resumedBytes())
        .isPositive();
    assertFinished();
    assertThat(Models.convert(sharded(Models.ODD1, true, false)).resumedBytes()).isZero();
    assertThat(Models.tensors(target)).isEqualTo(Models.tensors(Models.ODD1));
    assertThatThrownBy(() -> Models.convert(sharded(Models.ODD0.resolve("te"), true, true)))
        .isInstanceOf(TargetException.class)
        .hasMessageContaining("no interrupted conversion to resume");
  }

  @Test
  void givingUpLeavesNothing() throws IOException {
    stopAfter(300_000);
    new CheckpointConverter(null).discard(target);
    assertThat(folder).isEmptyDirectory();
    new CheckpointConverter(null).discard(target);
  }

  @Test
  void oneConversionAtATime() throws IOException {
    new CheckpointConverter(null)
        .convert(
            request,
            progress ->
                assertThatThrownBy(() -> Models.convert(request))
                    .isInstanceOf(TargetException.class)
                    .hasMessageContaining("another conversion is at work"));
    assertFinished();
  }

  @Test
  void onlyACheckpointIsOverwrittenAndOnlyWhenAsked() throws IOException {
    Files.createDirectory(target);
    Files.writeString(target.resolve("thesis.txt"), "years of work");
    assertRefused(false, ": exists; remove it, or ask to overwrite it");
    assertRefused(true, ": not a checkpoint; it is not overwritten");
    Files.writeString(target.resolve("config.json"), "{}");
    Path below = Files.createDirectory(target.resolve("below"));
    assertRefused(true, "below: not a plain file of a checkpoint; nothing is removed");
    Files.delete(below);
    Models.convert(sharded(Models.ODD0.resolve("te"), true, false));
    assertFinished();
    assertThat(target.resolve("thesis.txt")).doesNotExist();
  }

  @Test
  void linksFilesAndTheSourceAreNotOverwritten() throws IOException {
    Path elsewhere = Files.createDirectory(folder.resolve("elsewhere"));
    Files.createSymbolicLink(target, elsewhere);
    assertRefused(true, ": not a directory of its own");
    Files.delete(target);
    Files.createSymbolicLink(target, folder.resolve("nowhere"));
    assertRefused(false, ": exists");
    Files.delete(target);
    Files.writeString(target, "a file");
    assertRefused(true, ": not a directory of its own");
    Files.delete(target);
    Models.convert(request);
    assertThatThrownBy(() -> Models.convert(sharded(target, true, false)))
        .isInstanceOf(TargetException.class)
        .hasMessageContaining("lies in the source");
    ConversionRequest noParent = ConversionRequest.of(Models.ODD1, folder.resolve("no/where"));
    assertThatThrownBy(() -> Models.convert(noParent))
        .isInstanceOf(TargetException.class)
        .hasMessageContaining("no such parent directory");
    assertFinished();
  }

  private void assertRefused(boolean overwrite, String message) {
    ConversionRequest refused = sharded(Models.ODD0.resolve("te"), overwrite, false);
    assertThatThrownBy(() -> Models.convert(refused))
        .isInstanceOf(TargetException.class)
        .hasMessageContaining(message);
    assertThat(partial).doesNotExist();
  }

  /** Killed after the target had its name, before the journal was gone. */
  @Test
  void theLastStepIsFinished() throws IOException {
    Models.convert(request);
    try (ConversionPlan plan = ConversionPlan.open(request)) {
      Files.writeString(target.resolve(Journal.FILE_NAME), plan.identity() + "\n");
    }
    ConversionResult result = Models.convert(request);
    assertThat(result.resumedBytes()).isEqualTo(result.bytes());
    assertFinished();
  }
}
