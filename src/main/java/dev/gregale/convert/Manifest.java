package dev.gregale.convert;

import static dev.gregale.checkpoint.CheckpointException.quote;

import dev.gregale.checkpoint.Checkpoint;
import dev.gregale.checkpoint.CheckpointException;
import dev.gregale.checkpoint.SafetensorsFile;
import dev.gregale.checkpoint.ShardLayout;
import dev.gregale.checkpoint.TensorInfo;
import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import org.jspecify.annotations.Nullable;
import tools.jackson.core.JacksonException;
import tools.jackson.databind.json.JsonMapper;

/**
 * The sums of a converted checkpoint, beside it in {@value #FILE_NAME}.
 *
 * @param conversion identity of the conversion that made it
 * @param tensors by name; a rank's share with its experts, as in {@code NAME[4:8]}
 * @param files SHA-256 of the other files by name
 */
public record Manifest(String conversion, Map<String, Sum> tensors, Map<String, String> files) {

  public static final String FILE_NAME = "gregale-manifest.json";

  private static final long MAX_BYTES = 64L << 20;
  private static final int PIECE_BYTES = 1 << 20;

  /**
   * A tensor's type, shape and the SHA-256 of its data.
   *
   * @param shape as in {@code [8, 14336, 4096]}
   */
  public record Sum(String dtype, String shape, String sha256) {}

  static Manifest of(ConversionPlan plan, List<String> sums, Map<String, String> files) {
    Map<String, Sum> tensors = new TreeMap<>();
    int next = 0;
    for (ShardLayout shard : plan.shards()) {
      for (TensorInfo tensor : shard.tensors()) {
        String shape = tensor.shape().toString();
        tensors.put(shard.qualify(tensor), new Sum(tensor.dtype().name(), shape, sums.get(next++)));
      }
    }
    return new Manifest(plan.identity(), tensors, new TreeMap<>(files));
  }

  String json() {
    return JsonMapper.shared().writerWithDefaultPrettyPrinter().writeValueAsString(this) + "\n";
  }

  /** Whether a directory has one. */
  public static boolean isIn(Path directory) {
    return Files.exists(directory.resolve(FILE_NAME));
  }

  /**
   * Reads the manifest of a directory.
   *
   * @throws CheckpointException if there is none that can be read
   */
  public static Manifest read(Path directory) {
    Path path = Checkpoint.resolve(directory, FILE_NAME);
    try {
      if (Files.size(path) > MAX_BYTES) {
        throw new CheckpointException(path + ": more than " + MAX_BYTES + " bytes");
      }
      Manifest manifest = JsonMapper.shared().readValue(Files.readAllBytes(path), Manifest.class);
      if (manifest.conversion() == null || manifest.tensors() == null || manifest.files() == null) {
        throw new CheckpointException(path + ": expected conversion, tensors and files");
      }
      return manifest;
    } catch (IOException e) {
      throw new CheckpointException(path + ": cannot be read: " + e.getMessage(), e);
    } catch (JacksonException e) {
      throw new CheckpointException(
          "%s: not a manifest: %s".formatted(path, quote(String.valueOf(e.getOriginalMessage()))),
          e);
    }
  }

  /**
   * Reads all that the manifest sums.
   *
   * @throws CheckpointException if something is missing, was added to the tensors, or is not what
   *     it was
   */
  public void verify(Checkpoint checkpoint) {
    Path path = checkpoint.directory().resolve(FILE_NAME);
    Set<String> names = new HashSet<>();
    checkpoint.files().forEach(file -> names.addAll(file.qualified().keySet()));
    if (!names.equals(tensors.keySet())) {
      throw new CheckpointException(path + ": the checkpoint has other tensors than the manifest");
    }
    for (SafetensorsFile file : checkpoint.files()) {
      file.qualified().forEach((name, tensor) -> verify(file, tensor, tensors.get(name)));
    }
    files.forEach((name, expected) -> verifyFile(checkpoint.directory(), name, expected));
  }

  private static void verify(SafetensorsFile file, TensorInfo tensor, @Nullable Sum expected) {
    MemorySegment data = file.data(tensor.name());
    Sum found = new Sum(tensor.dtype().name(), tensor.shape().toString(), sum(data));
    if (!found.equals(expected)) {
      throw new CheckpointException(
          "%s: tensor %s: found %s, the manifest has %s"
              .formatted(
                  file.path(), quote(tensor.name()), found, quote(String.valueOf(expected))));
    }
  }

  private static void verifyFile(Path directory, String name, String expected) {
    if (!SideFiles.isPlainName(name)) {
      throw new CheckpointException(
          "%s: file %s, expected a plain name".formatted(directory, quote(name)));
    }
    Path file = Checkpoint.resolve(directory, name);
    try {
      String found = Sha256.of(file);
      if (!found.equals(expected)) {
        throw new CheckpointException(
            "%s: SHA-256 %s, the manifest has %s".formatted(file, found, quote(expected)));
      }
    } catch (IOException e) {
      throw new CheckpointException(file + ": cannot be read: " + e.getMessage(), e);
    }
  }

  private static String sum(MemorySegment data) {
    Sha256 sha = new Sha256();
    byte[] buffer = new byte[PIECE_BYTES];
    for (long at = 0; at < data.byteSize(); at += PIECE_BYTES) {
      int count = (int) Math.min(PIECE_BYTES, data.byteSize() - at);
      MemorySegment.ofArray(buffer).copyFrom(data.asSlice(at, count));
      sha.update(buffer, count);
    }
    return sha.hex();
  }
}
