package dev.gregale.backend.parallel;

import dev.gregale.backend.AttentionShape;
import dev.gregale.tensor.WeightScaling;

/**
 * How a model is divided among ranks. Attention is divided by heads (tensor parallelism: Shoeybi et
 * al. 2019, "Megatron-LM"). Experts are dealt out to groups of ranks (expert parallelism); within a
 * group each rank has its part of every expert's intermediate width.
 *
 * @param size N, ranks
 * @param expertGroups groups that experts are dealt out to: 1 for tensor parallelism alone, N for
 *     whole experts on every rank
 */
public record RankLayout(int size, int expertGroups) {
  public RankLayout {
    if (size < 1 || expertGroups < 1 || size % expertGroups != 0) {
      throw new IllegalArgumentException(
          "%d ranks cannot form %d groups of experts: the second must divide the first"
              .formatted(size, expertGroups));
    }
  }

  /** Ranks that share an expert. */
  int ranksPerGroup() {
    return size / expertGroups;
  }

  /** The first of a rank's experts. */
  int firstExpert(int rank, int numExperts) {
    return rank / ranksPerGroup() * numLocalExperts(numExperts);
  }

  int numLocalExperts(int numExperts) {
    return numExperts / expertGroups;
  }

  /** Which part of its experts' intermediate width a rank has. */
  int part(int rank) {
    return rank % ranksPerGroup();
  }

  /**
   * @throws IllegalArgumentException if a model of these lengths cannot be divided so, with the
   *     arithmetic
   */
  public void check(AttentionShape attention, int numExperts, int intermediate) {
    requireWhole(attention.numHeads(), "query heads", size);
    requireWhole(attention.numKvHeads(), "key/value heads", size);
    requireWhole(numExperts, "experts", expertGroups);
    requireWhole(intermediate, "intermediate rows", ranksPerGroup());
  }

  /**
   * @throws IllegalArgumentException if quantised weights cannot be divided so, with the arithmetic
   */
  public void check(WeightScaling scaling, AttentionShape attention, int intermediate) {
    long context = (long) attention.numHeads() * attention.headDim();
    ScaleShards.requireWholeBlocks(scaling, context, context / size);
    ScaleShards.requireWholeBlocks(scaling, intermediate, intermediate / ranksPerGroup());
  }

  private static void requireWhole(int count, String what, int parts) {
    if (count % parts != 0) {
      throw new IllegalArgumentException(
          "%d %s cannot be divided by %d: %d remain".formatted(count, what, parts, count % parts));
    }
  }

  /** A rank's heads. */
  AttentionShape shard(AttentionShape shape) {
    return new AttentionShape(
        shape.numHeads() / size, shape.numKvHeads() / size, shape.headDim(), shape.slidingWindow());
  }
}
