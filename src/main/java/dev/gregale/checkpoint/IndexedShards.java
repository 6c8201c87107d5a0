package dev.gregale.checkpoint;

import static dev.gregale.checkpoint.CheckpointException.quote;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import org.jspecify.annotations.Nullable;

/**
 * The files of a checkpoint under one index, or under an index for each rank that experts are dealt
 * out to. Each file is opened once, and must have just the tensors that an index says it has.
 */
final class IndexedShards {
  private final Path directory;
  private final Map<String, SafetensorsFile> files = new LinkedHashMap<>();
  private final Map<String, List<SafetensorsFile>> filesOfTensor = new LinkedHashMap<>();

  private IndexedShards(Path directory) {
    this.directory = directory;
  }

  /** Those of the one index of a checkpoint. */
  static IndexedShards open(Path directory) {
    IndexedShards shards = new IndexedShards(directory);
    return shards.orClose(() -> shards.add(SafetensorsIndex.FILE_NAME, null));
  }

  /**
   * Those of an index for each rank.
   *
   * @param indices names of all such files that the directory has
   * @throws CheckpointException if there are others than config.json tells of, or an expert is
   *     missing or there twice
   */
  static IndexedShards open(Path directory, Set<String> indices) {
    Path configPath = Checkpoint.resolve(directory, Checkpoint.CONFIG_FILE);
    ConfigJson config = ConfigJson.read(configPath);
    Integer size = config.optionalInt(ExpertRank.SIZE_KEY);
    int experts = config.requiredInt("num_local_experts");
    List<ExpertRank> ranks;
    try {
      ranks = ExpertRank.all(experts, size == null ? 1 : size);
    } catch (IllegalArgumentException e) {
      throw config.invalid(e);
    }
    requireIndices(directory, ranks, indices);
    IndexedShards shards = new IndexedShards(directory);
    return shards.orClose(
        () -> {
          ranks.forEach(rank -> shards.add(rank.indexName(), rank));
          shards.requireShares(experts / ranks.size());
        });
  }

  private static void requireIndices(Path directory, List<ExpertRank> ranks, Set<String> found) {
    Set<String> expected = new TreeSet<>();
    ranks.forEach(rank -> expected.add(rank.indexName()));
    for (String name : found) {
      if (!expected.contains(name)) {
        throw new CheckpointException(
            "%s: found %s, but config.json tells of %s %d; bring index and config.json of the same"
                    .formatted(directory, name, ExpertRank.SIZE_KEY, ranks.size())
                + " checkpoint together, and remove what is of another");
      }
    }
    for (String name : expected) {
      if (!found.contains(name)) {
        throw new CheckpointException(
            "%s: no %s, one of the %d that config.json tells of (%s); bring the files of all ranks"
                    .formatted(directory, name, ranks.size(), ExpertRank.SIZE_KEY)
                + " together");
      }
    }
  }

  private IndexedShards orClose(Runnable opening) {
    boolean opened = false;
    try {
      opening.run();
      opened = true;
      return this;
    } finally {
      if (!opened) {
        files.values().forEach(SafetensorsFile::close);
      }
    }
  }

  /** In the order in which they are named. */
  List<SafetensorsFile> files() {
    return List.copyOf(files.values());
  }

  /** By tensor: its file, or one for each rank's share, first to last. */
  Map<String, List<SafetensorsFile>> filesOfTensor() {
    return filesOfTensor;
  }

  private void add(String indexName, @Nullable ExpertRank rank) {
    Path index = Checkpoint.resolve(directory, indexName);
    Map<String, String> weightMap = SafetensorsIndex.read(index).weightMap();
    if (!filesOfTensor.isEmpty()) {
      requireSameTensors(index, weightMap.keySet());
    }
    Set<String> shards = new TreeSet<>(weightMap.values());
    for (String shard : shards) {
      if (!files.containsKey(shard)) {
        if (files.size() == Checkpoint.MAX_SHARDS) {
          throw new CheckpointException(index + ": more than " + Checkpoint.MAX_SHARDS + " shards");
        }
        files.put(shard, SafetensorsFile.open(Checkpoint.resolve(directory, shard)));
      }
    }
    weightMap.forEach((tensor, shard) -> add(index, tensor, shard, rank));
    shards.forEach(shard -> requireIndexed(index, weightMap, shard));
  }

  private void add(Path index, String tensor, String shard, @Nullable ExpertRank rank) {
    SafetensorsFile file = files.get(shard);
    if (file == null || !file.contains(tensor)) {
      throw new CheckpointException(
          "%s: no tensor %s, which %s says is in this shard"
              .formatted(
                  index.resolveSibling(shard),
                  quote(tensor),
                  rank == null ? "the index" : index.getFileName()));
    }
    List<SafetensorsFile> found = filesOfTensor.computeIfAbsent(tensor, t -> new ArrayList<>());
    if (found.isEmpty() || rank != null && CheckpointLayout.isStackedExperts(tensor)) {
      found.add(file);
    } else if (!found.getFirst().equals(file)) {
      throw new CheckpointException(
          "%s: tensor %s, which all ranks have alike, lies in %s, for the ranks before in %s;"
                  .formatted(index, quote(tensor), shard, found.getFirst().path().getFileName())
              + " expected one file that all indices name");
    }
  }

  private void requireSameTensors(Path index, Set<String> tensors) {
    for (String tensor : filesOfTensor.keySet()) {
      if (!tensors.contains(tensor)) {
        throw new CheckpointException(
            "%s: no tensor %s, which the index of rank 0 has".formatted(index, quote(tensor)));
      }
    }
    for (String tensor : tensors) {
      if (!filesOfTensor.containsKey(tensor)) {
        throw new CheckpointException(
            "%s: tensor %s, which the index of rank 0 has not".formatted(index, quote(tensor)));
      }
    }
  }

  /** A second copy of a tensor in another shard, or one the index forgot, would be ambiguous. */
  private void requireIndexed(Path index, Map<String, String> weightMap, String shard) {
    SafetensorsFile file = files.get(shard);
    for (String tensor : file == null ? Set.<String>of() : file.names()) {
      if (!shard.equals(weightMap.get(tensor))) {
        throw new CheckpointException(
            "%s: tensor %s lies in shard %s, the index says %s"
                .formatted(index, quote(tensor), shard, weightMap.get(tensor)));
      }
    }
  }

  /**
   * Two ranks' files have the same names and shapes; which is whose, only offsets tell.
   *
   * @param experts of a rank
   */
  private void requireShares(int experts) {
    Map<SafetensorsFile, ShardOffsets> offsets = new HashMap<>();
    files.values().forEach(file -> offsets.put(file, ShardOffsets.of(file)));
    filesOfTensor.forEach(
        (tensor, shares) -> {
          boolean stacked = CheckpointLayout.isStackedExperts(tensor);
          TensorInfo first = shares.getFirst().info(tensor);
          for (int rank = 0; rank < shares.size(); rank++) {
            SafetensorsFile file = shares.get(rank);
            if (stacked) {
              requireShare(file, tensor, first, experts);
            }
            ShardOffsets found = offsets.getOrDefault(file, ShardOffsets.NONE);
            long begin = (long) rank * experts;
            if (!found.begins(tensor, file.info(tensor).shape(), begin)) {
              throw new CheckpointException(
                  "%s: tensor %s begins at %s by the file's metadata, expected %s; %s"
                      .formatted(
                          file.path(),
                          quote(tensor),
                          found.describe(tensor),
                          stacked ? "expert %d, for rank %d".formatted(begin, rank) : "0, a whole",
                          "this is another rank's file, or one that says nothing of itself"));
            }
          }
        });
  }

  private void requireShare(SafetensorsFile file, String tensor, TensorInfo first, int experts) {
    TensorInfo share = file.info(tensor);
    boolean fits = share.dtype() == first.dtype();
    try {
      fits &= share.shape().equals(first.shape().withFirst(experts));
      share.shape().withFirst((long) experts * ExpertRank.MAX_SIZE); // of all ranks together
    } catch (ArithmeticException e) {
      fits = false;
    }
    if (!fits) {
      throw new CheckpointException(
          "%s: tensor %s: found %s %s, the first rank has %s %s; expected %d experts on each rank,"
                  .formatted(
                      file.path(),
                      quote(tensor),
                      share.dtype(),
                      share.shape(),
                      first.dtype(),
                      first.shape(),
                      experts)
              + " num_local_experts / "
              + ExpertRank.SIZE_KEY
              + ", all of one type and shape");
    }
  }
}
