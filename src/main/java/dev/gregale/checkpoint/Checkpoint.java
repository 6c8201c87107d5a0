package dev.gregale.checkpoint;

import static dev.gregale.checkpoint.CheckpointException.quote;

import dev.gregale.tensor.HostTensor;
import dev.gregale.tensor.Shape;
import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.nio.file.DirectoryIteratorException;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.regex.Pattern;
import java.util.stream.Stream;

/**
 * The weights of a model directory: {@code model.safetensors}, or shards under an index, or under
 * an index for each {@link ExpertRank}, or as ranks save them in parts. All files are mapped and
 * checked when it is opened. Pickled formats ({@code .bin}, {@code .pt}) are never read: unpickling
 * runs code. Tensors lie in the mappings and are gone after {@link #close}.
 */
public final class Checkpoint implements AutoCloseable {

  /** What Hugging Face calls the one file of a checkpoint without shards. */
  public static final String SINGLE_FILE = "model.safetensors";

  /** What Hugging Face calls the file with the dimensions. */
  public static final String CONFIG_FILE = "config.json";

  static final int MAX_SHARDS = 4096;

  /** What each rank of a job saves by torch.distributed.checkpoint. */
  private static final Pattern PART_NAME =
      Pattern.compile("shard-\\d+-model-\\d+-of-\\d+\\.safetensors");

  private final Path directory;
  private final List<SafetensorsFile> files;
  private final Map<String, List<SafetensorsFile>> filesOfTensor;

  private Checkpoint(
      Path directory,
      List<SafetensorsFile> files,
      Map<String, List<SafetensorsFile>> filesOfTensor) {
    this.directory = directory;
    this.files = files;
    this.filesOfTensor = Collections.unmodifiableMap(filesOfTensor);
  }

  /**
   * Opens the weights of a directory; {@code model.safetensors} goes before an index, as in Hugging
   * Face's loader. What ranks have is put together again.
   *
   * @throws CheckpointException if there are none, a file leaves the directory or is invalid, index
   *     and shards disagree, or ranks are missing
   */
  public static Checkpoint open(Path directory) {
    if (!Files.isDirectory(directory)) {
      throw new CheckpointException(directory + ": no such directory");
    }
    Set<String> rankIndices = names(directory, ExpertRank.INDEX_NAME, ExpertRank.MAX_SIZE);
    for (String name : List.of(SINGLE_FILE, SafetensorsIndex.FILE_NAME)) {
      if (Files.exists(directory.resolve(name))) {
        if (!rankIndices.isEmpty()) {
          throw new CheckpointException(
              "%s: found both %s and %s, a whole checkpoint and one of ranks; remove one of them"
                  .formatted(directory, name, rankIndices.iterator().next()));
        }
        return name.equals(SINGLE_FILE)
            ? openSingle(directory)
            : of(directory, CheckpointShards.open(directory));
      }
    }
    if (!rankIndices.isEmpty()) {
      return of(directory, CheckpointShards.open(directory, rankIndices));
    }
    Set<String> parts = names(directory, PART_NAME, MAX_SHARDS);
    if (parts.isEmpty()) {
      throw noWeights(directory);
    }
    return of(directory, CheckpointShards.openParts(directory, parts));
  }

  private static Checkpoint openSingle(Path directory) {
    SafetensorsFile file = SafetensorsFile.open(resolve(directory, SINGLE_FILE));
    Map<String, List<SafetensorsFile>> filesOfTensor = new LinkedHashMap<>();
    file.names().forEach(name -> filesOfTensor.put(name, List.of(file)));
    return new Checkpoint(directory, List.of(file), filesOfTensor);
  }

  private static Checkpoint of(Path directory, CheckpointShards shards) {
    return new Checkpoint(directory, shards.files(), shards.filesOfTensor());
  }

  /**
   * The files of a directory with names like that.
   *
   * @throws CheckpointException if there are too many
   */
  private static Set<String> names(Path directory, Pattern pattern, int most) {
    Set<String> names = new TreeSet<>();
    try (DirectoryStream<Path> entries = Files.newDirectoryStream(directory)) {
      for (Path entry : entries) {
        String name = String.valueOf(entry.getFileName());
        if (pattern.matcher(name).matches()) {
          names.add(name);
        }
        if (names.size() > most) {
          throw new CheckpointException(
              "%s: more than %d files like %s".formatted(directory, most, name));
        }
      }
    } catch (IOException | DirectoryIteratorException e) {
      throw new CheckpointException(directory + ": cannot be listed: " + e.getMessage(), e);
    }
    return names;
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
        "%s: no weights, expected %s or %s, or an index for each rank (%s, ...)"
            .formatted(
                directory,
                SINGLE_FILE,
                SafetensorsIndex.FILE_NAME,
                new ExpertRank(0, 2).indexName()));
  }

  public Path directory() {
    return directory;
  }

  public List<SafetensorsFile> files() {
    return files;
  }

  /** The names of all tensors, in the file's or the index's order. */
  public Set<String> names() {
    return filesOfTensor.keySet();
  }

  public boolean contains(String name) {
    return filesOfTensor.containsKey(name);
  }

  /** How many ranks the experts lie apart for; 1: they are whole. */
  public int expertParallelSize() {
    return filesOfTensor.values().stream().mapToInt(List::size).max().orElse(1);
  }

  private List<SafetensorsFile> files(String name) {
    List<SafetensorsFile> found = filesOfTensor.get(name);
    if (found == null) {
      throw new CheckpointException(
          "%s: no tensor %s among its %d".formatted(directory, quote(name), names().size()));
    }
    return found;
  }

  /**
   * The file that holds a tensor, or the first rank's share of it: for messages.
   *
   * @throws CheckpointException if there is no such tensor
   */
  public Path path(String name) {
    return files(name).getFirst().path();
  }

  /**
   * What a tensor is, all ranks' shares together.
   *
   * @throws CheckpointException if there is no such tensor
   */
  public TensorSpec spec(String name) {
    List<SafetensorsFile> shares = files(name);
    TensorInfo first = shares.getFirst().info(name);
    Shape shape = first.shape();
    if (shares.size() > 1) {
      shape = shape.withFirst(shares.stream().mapToLong(f -> f.info(name).shape().dim(0)).sum());
    }
    return new TensorSpec(name, first.dtype(), shape);
  }

  /**
   * The bytes of a tensor in place, row-major and little-endian: each rank's share of it, first to
   * last, or all in one.
   *
   * @throws CheckpointException if there is no such tensor
   */
  public List<MemorySegment> slabs(String name) {
    return files(name).stream().map(file -> file.data(name)).toList();
  }

  /**
   * A tensor in place; none of codes, which are nothing without their scales.
   *
   * @throws CheckpointException if there is no such tensor
   */
  public HostTensor tensor(String name) {
    TensorSpec spec = spec(name);
    return new HostTensor(name, spec.dtype(), spec.shape(), slabs(name));
  }

  @Override
  public void close() {
    files.forEach(SafetensorsFile::close);
  }
}
