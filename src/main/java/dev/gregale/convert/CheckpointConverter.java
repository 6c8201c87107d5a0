package dev.gregale.convert;

import dev.gregale.checkpoint.Checkpoint;
import dev.gregale.checkpoint.CheckpointException;
import dev.gregale.checkpoint.CheckpointReader;
import dev.gregale.checkpoint.ConfigJson;
import dev.gregale.checkpoint.ModelDimensions;
import dev.gregale.checkpoint.QuantizationConfig;
import dev.gregale.checkpoint.SafetensorsFile;
import dev.gregale.checkpoint.ShardLayout;
import dev.gregale.checkpoint.TensorInfo;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.HashMap;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import org.jspecify.annotations.Nullable;

/**
 * Converts a checkpoint into another layout, type or division into files. The target appears only
 * when it is complete, on the disk and read back; what an interrupted conversion has done is gone
 * on with. Memory does not grow with the model.
 */
public final class CheckpointConverter {
  private static final long BATCH_BYTES = 64L << 20;

  private final Channels channels;
  private final long batchBytes;
  private final @Nullable ModelComparison comparison;

  /**
   * @param comparison of the source with what was written, before that gets its name; null for none
   */
  public CheckpointConverter(@Nullable ModelComparison comparison) {
    this(Channels.SYSTEM, BATCH_BYTES, comparison);
  }

  /**
   * @param batchBytes after how many the disk is waited for and the journal written
   */
  CheckpointConverter(Channels channels, long batchBytes, @Nullable ModelComparison comparison) {
    this.channels = channels;
    this.batchBytes = batchBytes;
    this.comparison = comparison;
  }

  /**
   * Checks source and target and tells what {@link #convert} would make; writes nothing.
   *
   * @throws CheckpointException if the source is no complete, valid model
   * @throws TargetException if the target cannot be made
   * @throws IOException if a file cannot be read
   */
  public ConversionResult plan(ConversionRequest request) throws IOException {
    try (ConversionPlan plan = ConversionPlan.open(request)) {
      TargetDirectory target = new TargetDirectory(request.target());
      target.require(request.source(), request.overwrite());
      SideFiles.of(request.source());
      return plan.result(0, null);
    }
  }

  /**
   * Converts. If it fails or the process ends, the same call goes on where it stopped.
   *
   * @throws CheckpointException if the source is no complete, valid model
   * @throws TargetException if the target cannot be made
   * @throws VerificationException if no value was to be changed, and yet the logits differ
   * @throws IOException if a file cannot be read or written, or the disk is full
   */
  public ConversionResult convert(ConversionRequest request, ConversionProgress.Listener listener)
      throws IOException {
    try (ConversionPlan plan = ConversionPlan.open(request)) {
      TargetDirectory target = new TargetDirectory(request.target());
      if (isFinished(target, plan)) {
        LogitsDifference difference = compare(request, target.path());
        target.finish();
        return plan.result(plan.totalBytes(), difference);
      }
      target.require(request.source(), request.overwrite());
      if (request.resume() && !Files.exists(target.partial().resolve(Journal.FILE_NAME))) {
        throw new TargetException(target.path() + ": there is no interrupted conversion to resume");
      }
      target.begin();
      try (Journal journal = Journal.open(target.partial(), plan, channels)) {
        return convert(request, plan, target, journal, listener);
      }
    }
  }

  /**
   * Gives an interrupted conversion up and removes what it has written.
   *
   * @throws TargetException if a conversion is at work there
   * @throws IOException if a file cannot be removed
   */
  public void discard(Path target) throws IOException {
    TargetDirectory directory = new TargetDirectory(target);
    Path journal = directory.partial().resolve(Journal.FILE_NAME);
    if (!Channels.exists(journal)) {
      directory.discard();
      return;
    }
    try (FileChannel locked = Channels.SYSTEM.open(journal, Set.of(StandardOpenOption.WRITE))) {
      Journal.lock(locked, directory.partial());
      directory.discard();
    }
  }

  private static boolean isFinished(TargetDirectory target, ConversionPlan plan) {
    return target.isUnfinished()
        && Manifest.read(target.path()).conversion().equals(plan.identity());
  }

  private ConversionResult convert(
      ConversionRequest request,
      ConversionPlan plan,
      TargetDirectory target,
      Journal journal,
      ConversionProgress.Listener listener)
      throws IOException {
    if (!journal.resumable()) {
      requireMayClear(request, target, journal);
      target.clear();
    }
    journal.begin();
    long done = plan.tensors().stream().limit(journal.size()).mapToLong(TensorInfo::bytes).sum();
    requireSpace(target, plan.totalBytes() - done);
    Path folder = target.partial();
    long resumed = new TensorCopier(folder, plan, journal, channels, batchBytes, listener).run();
    Map<String, String> files = writeFiles(plan, folder);
    check(plan, folder);
    report(ConversionProgress.Phase.VERIFY, plan, listener);
    LogitsDifference difference = compare(request, folder);
    report(ConversionProgress.Phase.PUBLISH, plan, listener);
    Manifest manifest = Manifest.of(plan, journal.sums(), files);
    write(folder.resolve(Manifest.FILE_NAME), manifest.json());
    target.publish();
    return plan.result(resumed, difference);
  }

  private static void report(
      ConversionProgress.Phase phase, ConversionPlan plan, ConversionProgress.Listener listener) {
    listener.progress(new ConversionProgress(phase, "", plan.totalBytes(), plan.totalBytes()));
  }

  private @Nullable LogitsDifference compare(ConversionRequest request, Path converted)
      throws IOException {
    if (comparison == null) {
      return null;
    }
    LogitsDifference difference = comparison.compare(request.source(), converted);
    if (!request.changesValues() && !difference.identical()) {
      throw new VerificationException(
          "%s: the logits differ from the source's by up to %s although no value was changed;"
                  .formatted(request.target(), difference.maxAbsDifference())
              + " the target is not made. Check the memory of this machine, then report a defect");
    }
    return difference;
  }

  private static void requireMayClear(
      ConversionRequest request, TargetDirectory target, Journal journal) throws IOException {
    if (request.resume() || !journal.isEmpty() && !request.overwrite()) {
      throw new TargetException(
          target.partial()
              + ": an interrupted conversion of another source or with other options;"
              + " remove it, or ask to overwrite it");
    }
  }

  /** A disk that fills up is noticed in any case; this only says so before hours of work. */
  private static void requireSpace(TargetDirectory target, long bytes) throws IOException {
    long free = Files.getFileStore(target.partial()).getUsableSpace();
    if (bytes > free) {
      throw new TargetException(
          "%s: %d bytes are to be written, the disk has %d; make room"
              .formatted(target.path(), bytes, free));
    }
  }

  /** Writes all but the weights; gives each file's sum. */
  private Map<String, String> writeFiles(ConversionPlan plan, Path folder) throws IOException {
    Map<String, String> sums = new TreeMap<>();
    sums.put(Checkpoint.CONFIG_FILE, write(folder.resolve(Checkpoint.CONFIG_FILE), plan.config()));
    for (Map.Entry<String, String> index : plan.indices().entrySet()) {
      sums.put(index.getKey(), write(folder.resolve(index.getKey()), index.getValue()));
    }
    for (Path file : SideFiles.of(plan.sourceDirectory())) {
      Path copy = folder.resolve(file.getFileName());
      channels.copy(file, copy);
      String sum = Sha256.of(copy);
      if (!sum.equals(Sha256.of(file))) {
        throw new IOException(copy + ": read back, it is not what was written");
      }
      sums.put(file.getFileName().toString(), sum);
    }
    return sums;
  }

  private String write(Path path, String text) throws IOException {
    channels.write(path, ByteBuffer.wrap(text.getBytes(StandardCharsets.UTF_8)));
    String sum = Sha256.of(path);
    if (!sum.equals(Sha256.of(text))) {
      throw new IOException(path + ": read back, it is not what was written");
    }
    return sum;
  }

  /** What was written must be a model that loads, of the same dimensions. */
  private static void check(ConversionPlan plan, Path folder) throws IOException {
    try (Checkpoint written = Checkpoint.open(folder)) {
      ConfigJson config = ConfigJson.read(folder.resolve(Checkpoint.CONFIG_FILE));
      CheckpointReader.read(written, ModelDimensions.of(config), QuantizationConfig.of(config));
      Map<Path, SafetensorsFile> files = new HashMap<>();
      written.files().forEach(file -> files.put(file.path().getFileName(), file));
      for (ShardLayout shard : plan.shards()) {
        SafetensorsFile file = files.get(Path.of(shard.fileName()));
        if (file == null || !file.tensors().equals(shard.tensors())) {
          throw new IOException(folder + ": read back, the header is not what was written");
        }
      }
    } catch (CheckpointException e) {
      throw new IOException("read back: " + e.getMessage(), e);
    }
  }
}
