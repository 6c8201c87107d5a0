package dev.gregale.backend;

import dev.gregale.backend.AdditionsFixture.Codes;
import dev.gregale.backend.BlocksFixture.Experts;
import dev.gregale.quantization.Recipe;
import dev.gregale.tensor.DType;
import dev.gregale.tensor.InputScaling.When;
import java.util.Arrays;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * {@link BlocksContractTest} over quantised weights and an FP8 KV cache, against the oracle, which
 * multiplies by code * scale in fp32.
 */
class QuantisedBlocksContractTest extends ContractTest {

  /** The larger ops, which a backend may compute by kernels of their own. */
  @ParameterizedTest
  @MethodSource("backends")
  void attentionBlock(Device candidate) {
    AttentionShape large = new AttentionShape(4, 2, 128, 0);
    AttentionShape odd = new AttentionShape(3, 1, 10, 0);
    for (Recipe recipe : QuantisedWeights.recipes()) {
      DType cache = candidate.kvCacheDType();
      BlocksFixture.attention(
          candidate,
          recipe,
          cache,
          large,
          256,
          64,
          new int[] {70},
          BatchFixture.ones(1),
          new int[] {3});
      for (int seqs : new int[] {8, 9}) {
        int[] prompts = new int[seqs];
        Arrays.setAll(prompts, s -> 1 + 7 * s % 30);
        BlocksFixture.attention(
            candidate, recipe, cache, large, 256, 16, prompts, BatchFixture.ones(seqs));
      }
      BlocksFixture.attention(
          candidate, recipe, cache, odd, 50, 5, new int[] {7, 2}, BatchFixture.ones(2));
    }
  }

  @ParameterizedTest
  @MethodSource("backends")
  void expertBlock(Device candidate) {
    for (Recipe recipe : QuantisedWeights.recipes()) {
      for (int tokens : new int[] {1, 8, 9, 33, 200}) {
        BlocksFixture.experts(candidate, recipe, tokens, Experts.all(8, 2), 256, 192);
        BlocksFixture.experts(candidate, recipe, tokens, new Experts(8, 4, 4, 2), 256, 192);
      }
      BlocksFixture.experts(candidate, recipe, 6, Experts.all(4, 2), 50, 33);
    }
  }

  /** What is added has the bits of the product alone, its inputs quantised or not. */
  @ParameterizedTest
  @MethodSource("backends")
  void additions(Device candidate) {
    for (Recipe recipe : QuantisedWeights.recipes()) {
      for (When when : new When[] {When.NEVER, When.ALWAYS}) {
        Codes codes = new Codes(recipe, when);
        for (int rows : new int[] {1, 70, 300}) {
          AdditionsFixture.matmul(candidate, codes, rows, 144, 256);
          AdditionsFixture.experts(candidate, codes, rows, 5, 2, 256, 192);
        }
      }
    }
  }

  /** Positions turn nothing, so that both sides round the same keys. */
  @ParameterizedTest
  @MethodSource("backends")
  void pagedAttention(Device candidate) {
    if (!candidate.kvCacheDTypes().contains(DType.F8_E4M3)) {
      return;
    }
    int[] mixed = {1, 1, 40, 5};
    kv(candidate, new AttentionShape(6, 2, 32, 0), 16, mixed, mixed, BatchFixture.ones(4));
    kv(candidate, new AttentionShape(5, 5, 10, 0), 3, new int[] {7, 1}, BatchFixture.ones(2));
    kv(candidate, new AttentionShape(4, 1, 66, 9), 8, new int[] {25, 2, 1}, BatchFixture.ones(3));
    kv(
        candidate,
        new AttentionShape(8, 2, 128, 0),
        64,
        new int[] {150, 7},
        BatchFixture.ones(2),
        BatchFixture.ones(2));
  }

  private static void kv(Device candidate, AttentionShape shape, int blockSize, int[]... rounds) {
    AttentionFixture.attention(candidate, DType.F8_E4M3, shape, blockSize, false, rounds);
  }
}
