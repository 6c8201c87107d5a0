package dev.gregale.checkpoint;

import static dev.gregale.checkpoint.CheckpointException.quote;

import dev.gregale.tensor.Shape;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import org.jspecify.annotations.Nullable;

/**
 * The files of a checkpoint that has several: under one index; under an index for each rank that
 * experts are dealt out to; or without, as ranks save them by {@code torch.distributed.checkpoint}.
 * Each is opened once, and must have just the tensors that an index says it has.
 */
final class CheckpointShards {
  private final Path directory;
  private final Map<String, SafetensorsFile> files = new LinkedHashMap<>();
  private final Map<String, List<SafetensorsFile>> filesOfTensor = new LinkedHashMap<>();

  private CheckpointShards(Path directory) {
    this.directory = directory;
  }

  /** Those of the one index of a checkpoint. */
  static CheckpointShards open(Path directory) {
    CheckpointShards shards = new CheckpointShards(directory);
    return shards.orClose(() -> shards.add(SafetensorsIndex.FILE_NAME, null));
  }

  /**
   * Those of an index for each rank.
   *
   * @param indices names of all such files that the directory has
   * @throws CheckpointException if there are others than config.json tells of, or an expert is
   *     missing or there twice
   */
  static CheckpointShards open(Path directory, Set<String> indices) {
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
    CheckpointShards shards = new CheckpointShards(directory);
    return shards.orClose(
        () -> {
          ranks.forEach(rank -> shards.add(rank.indexName(), rank));
          shards.requireExperts(experts / ranks.size());
          shards.filesOfTensor.forEach(new TensorShares(shards.files())::requireWhole);
        });
  }

  /**
   * Those that {@code torch.distributed.checkpoint} writes for ranks, which no index tells of: what
   * of which tensor a file has, it says itself.
   *
   * @param names of all such files
   * @throws CheckpointException if a part is missing or there twice, or anything but experts is cut
   */
  static CheckpointShards openParts(Path directory, Set<String> names) {
    CheckpointShards shards = new CheckpointShards(directory);
    return shards.orClose(
        () -> {
          for (String name : names) {
            for (String tensor : shards.file(name).names()) {
              shards
                  .filesOfTensor
                  .computeIfAbsent(tensor, t -> new ArrayList<>())
                  .add(shards.file(name));
            }
          }
          TensorShares shares = new TensorShares(shards.files());
          shards.filesOfTensor.replaceAll(shares::inOrder);
          shards.filesOfTensor.forEach(shares::requireWhole);
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

  private CheckpointShards orClose(Runnable opening) {
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

  /** Opened when it is first asked for. */
  private SafetensorsFile file(String name) {
    SafetensorsFile file = files.get(name);
    if (file == null) {
      if (files.size() == Checkpoint.MAX_SHARDS) {
        throw new CheckpointException(
            directory + ": more than " + Checkpoint.MAX_SHARDS + " shards");
      }
      file = SafetensorsFile.open(Checkpoint.resolve(directory, name));
      files.put(name, file);
    }
    return file;
  }

  private void add(String indexName, @Nullable ExpertRank rank) {
    Path index = Checkpoint.resolve(directory, indexName);
    Map<String, String> weightMap = SafetensorsIndex.read(index).weightMap();
    if (!filesOfTensor.isEmpty()) {
      requireSameTensors(index, weightMap.keySet());
    }
    Set<String> shards = new TreeSet<>(weightMap.values());
    shards.forEach(this::file);
    weightMap.forEach((tensor, shard) -> add(index, tensor, shard, rank));
    shards.forEach(shard -> requireIndexed(index, weightMap, shard));
  }

  private void add(Path index, String tensor, String shard, @Nullable ExpertRank rank) {
    SafetensorsFile file = file(shard);
    if (!file.contains(tensor)) {
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
    for (String tensor : file(shard).names()) {
      if (!shard.equals(weightMap.get(tensor))) {
        throw new CheckpointException(
            "%s: tensor %s lies in shard %s, the index says %s"
                .formatted(index, quote(tensor), shard, weightMap.get(tensor)));
      }
    }
  }

  /**
   * Scales have the length of their weights in blocks; {@link ScaleReader} knows it.
   *
   * @param experts of a rank
   */
  private void requireExperts(int experts) {
    filesOfTensor.forEach(
        (tensor, shares) -> {
          for (SafetensorsFile file : shares) {
            Shape share = file.info(tensor).shape();
            if (CheckpointLayout.isStackedExperts(tensor)
                && CheckpointLayout.isQuantisable(tensor)
                && (share.rank() == 0 || share.dim(0) != experts)) {
              throw new CheckpointException(
                  "%s: tensor %s: found shape %s, expected %d experts, num_local_experts / %s"
                      .formatted(file.path(), quote(tensor), share, experts, ExpertRank.SIZE_KEY));
            }
          }
        });
  }
}
