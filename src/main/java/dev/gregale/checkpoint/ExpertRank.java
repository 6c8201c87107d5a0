package dev.gregale.checkpoint;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;
import java.util.stream.IntStream;

/**
 * One of the ranks that the experts of a TransformerEngine checkpoint are dealt out to. Its module
 * has E / N consecutive experts under the names that all E have in a whole checkpoint; what is not
 * an expert's, every rank has alike.
 *
 * <p>Rank {@code r} of {@code N} has an index of its own, named as what transformers calls the
 * variant {@code epR-of-N} of a checkpoint. It lists all tensors of the rank's module: those of its
 * experts lie in files that say in their metadata whose they are, the others in files that all
 * indices name. {@code config.json} says N ({@value #SIZE_KEY}).
 *
 * @param rank from 0
 * @param size N
 */
public record ExpertRank(int rank, int size) {

  /** Of NVMixtralConfig; the key of a file's metadata too. */
  public static final String SIZE_KEY = "expert_parallel_size";

  /** What is refused beyond bounds the number of files. */
  public static final int MAX_SIZE = 256;

  static final String INDEX_PATTERN = "model\\.safetensors\\.index\\.ep\\d+-of-\\d+\\.json";

  private static final String RANK_KEY = "expert_parallel_rank";

  /**
   * All ranks, first to last.
   *
   * @param experts E
   * @throws IllegalArgumentException if experts cannot be dealt out evenly, with the arithmetic
   */
  public static List<ExpertRank> all(int experts, int size) {
    if (size < 1 || size > MAX_SIZE) {
      throw new IllegalArgumentException(
          "%d ranks to deal experts out to, expected 1 to %d".formatted(size, MAX_SIZE));
    }
    if (experts % size != 0) {
      throw new IllegalArgumentException(
          "%d experts cannot be divided by %d: %d remain; deal them out to %s ranks"
              .formatted(
                  experts,
                  size,
                  experts % size,
                  IntStream.rangeClosed(1, Math.min(experts, MAX_SIZE))
                      .filter(ranks -> experts % ranks == 0)
                      .mapToObj(Integer::toString)
                      .collect(Collectors.joining(" or "))));
    }
    return IntStream.range(0, size).mapToObj(rank -> new ExpertRank(rank, size)).toList();
  }

  /** As in {@code ep0-of-2}. */
  public String variant() {
    return "ep%d-of-%d".formatted(rank, size);
  }

  /** Of the file that says where the rank's tensors are. */
  public String indexName() {
    return SafetensorsIndex.FILE_NAME.replace(".json", "." + variant() + ".json");
  }

  /** Of a file with the rank's experts. */
  Map<String, String> metadata() {
    Map<String, String> metadata = new LinkedHashMap<>(SafetensorsWriter.PYTORCH_METADATA);
    metadata.put(RANK_KEY, Integer.toString(rank));
    metadata.put(SIZE_KEY, Integer.toString(size));
    return metadata;
  }

  /** Whether a file with that metadata has experts of this rank. */
  boolean owns(Map<String, String> metadata) {
    return metadata.entrySet().containsAll(metadata().entrySet());
  }

  /** Whether a file with that metadata has experts of this rank, or what all ranks have alike. */
  public boolean reads(Map<String, String> metadata) {
    return !isRanks(metadata) || owns(metadata);
  }

  /** Whose experts a file with that metadata has, for messages. */
  static String owner(Map<String, String> metadata) {
    return isRanks(metadata)
        ? CheckpointException.quote(
            "rank %s of %s".formatted(metadata.get(RANK_KEY), metadata.get(SIZE_KEY)))
        : "no rank";
  }

  /** Whether a file with that metadata has experts of some rank. */
  static boolean isRanks(Map<String, String> metadata) {
    return metadata.containsKey(RANK_KEY);
  }

  /**
   * A name that tells a rank's share of a tensor from those of the others, as in {@code
   * ep0-of-2/model.layers...}; of what is no rank's, its own.
   *
   * @param metadata of the tensor's file
   */
  public static String qualify(Map<String, String> metadata, String tensor) {
    return isRanks(metadata)
        ? "ep%s-of-%s/%s".formatted(metadata.get(RANK_KEY), metadata.get(SIZE_KEY), tensor)
        : tensor;
  }

  @Override
  public String toString() {
    return "rank %d of %d".formatted(rank, size);
  }
}
