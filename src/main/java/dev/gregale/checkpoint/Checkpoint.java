package dev.gregale.checkpoint;

import static dev.gregale.checkpoint.CheckpointException.quote;

import dev.gregale.tensor.HostTensor;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Collection;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Stream;

/**
 * The weights of a model directory: {@code model.safetensors}, or shards under an index. All files
 * are mapped and checked when it is opened. Pickled formats ({@code .bin}, {@code .pt}) are never
 * read: unpickling runs code. Tensors lie in the mappings and are gone after {@link #close}.
 */
public final class Checkpoint implements AutoCloseable {

  /** What Hugging Face calls the one file of a checkpoint without shards. */
  public static final String SINGLE_FILE = "model.safetensors";

  /** What Hugging Face calls the file with the dimensions. */
  public static final String CONFIG_FILE = "config.json";

  static final int MAX_SHARDS = 4096;

  private final Path directory;
  private final List<SafetensorsFile> files;
  private final Map<String, SafetensorsFile> fileOfTensor;

  private Checkpoint(
      Path directory,
      Collection<SafetensorsFile> files,
      Map<String, SafetensorsFile> fileOfTensor) {
    this.directory = directory;
    this.files = List.copyOf(files);
    this.fileOfTensor = Collections.unmodifiableMap(fileOfTensor);
  }

  /**
   * Opens the weights of a directory; {@code model.safetensors} goes before an index, as in Hugging
   * Face's loader.
   *
   * @throws CheckpointException if there are none, a file leaves the directory or is invalid, or
   *     index and shards disagree
   */
  public static Checkpoint open(Path directory) {
    if (!Files.isDirectory(directory)) {
      throw new CheckpointException(directory + ": no such directory");
    }
    if (Files.exists(directory.resolve(SINGLE_FILE))) {
      return openSingle(directory);
    }
    if (Files.exists(directory.resolve(SafetensorsIndex.FILE_NAME))) {
      return openSharded(directory);
    }
    throw noWeights(directory);
  }

  private static Checkpoint openSingle(Path directory) {
    SafetensorsFile file = SafetensorsFile.open(resolve(directory, SINGLE_FILE));
    Map<String, SafetensorsFile> fileOfTensor = new LinkedHashMap<>();
    file.names().forEach(name -> fileOfTensor.put(name, file));
    return new Checkpoint(directory, List.of(file), fileOfTensor);
  }

  private static Checkpoint openSharded(Path directory) {
    Path indexPath = resolve(directory, SafetensorsIndex.FILE_NAME);
    Map<String, String> weightMap = SafetensorsIndex.read(indexPath).weightMap();
    Map<String, SafetensorsFile> shards = new LinkedHashMap<>();
    boolean opened = false;
    try {
      for (String shard : new TreeSet<>(weightMap.values())) {
        if (shards.size() == MAX_SHARDS) {
          throw new CheckpointException(indexPath + ": more than " + MAX_SHARDS + " shards");
        }
        shards.put(shard, SafetensorsFile.open(resolve(directory, shard)));
      }
      Map<String, SafetensorsFile> fileOfTensor = new LinkedHashMap<>();
      weightMap.forEach((tensor, shard) -> put(fileOfTensor, tensor, shards, shard));
      shards.forEach((shard, file) -> requireIndexed(indexPath, weightMap, shard, file));
      Checkpoint checkpoint = new Checkpoint(directory, shards.values(), fileOfTensor);
      opened = true;
      return checkpoint;
    } finally {
      if (!opened) {
        shards.values().forEach(SafetensorsFile::close);
      }
    }
  }

  private static void put(
      Map<String, SafetensorsFile> fileOfTensor,
      String tensor,
      Map<String, SafetensorsFile> shards,
      String shard) {
    SafetensorsFile file = shards.get(shard);
    if (file == null || !file.contains(tensor)) {
      throw new CheckpointException(
          "%s: no tensor %s, which the index says is in this shard"
              .formatted(shard, quote(tensor)));
    }
    fileOfTensor.put(tensor, file);
  }

  /** A second copy of a tensor in another shard, or one the index forgot, would be ambiguous. */
  private static void requireIndexed(
      Path index, Map<String, String> weightMap, String shard, SafetensorsFile file) {
    for (String tensor : file.names()) {
      if (!shard.equals(weightMap.get(tensor))) {
        throw new CheckpointException(
            "%s: tensor %s lies in shard %s, the index says %s"
                .formatted(index, quote(tensor), shard, weightMap.get(tensor)));
      }
    }
  }

  /**
   * The file of that name, which a symbolic link must not lead out of the directory. Hugging Face's
   * cache is let through: there {@code snapshots/REVISION} links into {@code blobs} beside it.
   *
   * @throws CheckpointException if there is none, or it leads out
   */
  public static Path resolve(Path directory, String name) {
    Path file = directory.resolve(name);
    try {
      Path root = directory.toRealPath();
      Path real = file.toRealPath();
      Path snapshots = root.getParent();
      boolean cached =
          snapshots != null
              && snapshots.endsWith("snapshots")
              && real.startsWith(snapshots.resolveSibling("blobs"));
      if (!real.startsWith(root) && !cached) {
        throw new CheckpointException(
            file + ": a symbolic link out of the directory, expected a file within it");
      }
      return file;
    } catch (IOException e) {
      throw new CheckpointException(file + ": no such file, or not readable", e);
    }
  }

  private static CheckpointException noWeights(Path directory) {
    try (Stream<Path> entries = Files.list(directory)) {
      List<String> pickled =
          entries
              .map(entry -> String.valueOf(entry.getFileName()))
              .filter(name -> name.matches(".*\\.(bin|pt|pth|ckpt|pkl)(\\.index\\.json)?"))
              .sorted()
              .limit(3)
              .toList();
      if (!pickled.isEmpty()) {
        return new CheckpointException(
            "%s: only pickled weights (%s), which are never read because unpickling runs code;"
                    .formatted(directory, quote(String.join(", ", pickled)))
                + " convert them to safetensors first (model.save_pretrained writes it)");
      }
    } catch (IOException e) {
      return new CheckpointException(directory + ": cannot be listed: " + e.getMessage(), e);
    }
    return new CheckpointException(
        "%s: no weights, expected %s or %s"
            .formatted(directory, SINGLE_FILE, SafetensorsIndex.FILE_NAME));
  }

  public Path directory() {
    return directory;
  }

  /** The names of all tensors, in the file's or the index's order. */
  public Set<String> names() {
    return fileOfTensor.keySet();
  }

  public boolean contains(String name) {
    return fileOfTensor.containsKey(name);
  }

  /**
   * The file that holds a tensor.
   *
   * @throws CheckpointException if there is no such tensor
   */
  public SafetensorsFile file(String name) {
    SafetensorsFile file = fileOfTensor.get(name);
    if (file == null) {
      throw new CheckpointException(
          "%s: no tensor %s among its %d".formatted(directory, quote(name), names().size()));
    }
    return file;
  }

  /**
   * A tensor in place; none of codes, which are nothing without their scales.
   *
   * @throws CheckpointException if there is no such tensor
   */
  public HostTensor tensor(String name) {
    return file(name).tensor(name);
  }

  @Override
  public void close() {
    files.forEach(SafetensorsFile::close);
  }
}
