package dev.gregale.checkpoint;

import java.util.List;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.IntStream;

/**
 * One of the ranks that the experts of a TransformerEngine checkpoint are dealt out to. Its module
 * has E / N consecutive experts under the names that all E have in a whole checkpoint; what is not
 * an expert's, every rank has alike.
 *
 * <p>Rank {@code r} of {@code N} has an index of its own, named as what transformers calls the
 * variant {@code epR-of-N} of a checkpoint. It lists all tensors of the rank's module: those of its
 * experts lie in files that say which of all experts they are ({@link ShardOffsets}), the others in
 * files that all indices name. {@code config.json} says N ({@value #SIZE_KEY}).
 *
 * @param rank from 0
 * @param size N
 */
public record ExpertRank(int rank, int size) {

  /** Of NVMixtralConfig. */
  public static final String SIZE_KEY = "expert_parallel_size";

  /** What is refused beyond bounds the number of files. */
  public static final int MAX_SIZE = 256;

  static final Pattern INDEX_NAME =
      Pattern.compile("model\\.safetensors\\.index\\.ep\\d+-of-\\d+\\.json");

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
}
