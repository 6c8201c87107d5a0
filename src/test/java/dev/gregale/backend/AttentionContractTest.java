package dev.gregale.backend;

import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** {@link KernelsContractTest} for attention and its cache. */
class AttentionContractTest extends ContractTest {

  @ParameterizedTest
  @MethodSource("backends")
  void ropeAndCacheKv(Device candidate) {
    int[] tokens = {3, 1, 17};
    attention(candidate, new AttentionShape(6, 2, 32, 0), 4, true, tokens, tokens, tokens);
    attention(candidate, new AttentionShape(3, 1, 10, 0), 16, true, tokens, tokens, tokens);
    attention(candidate, new AttentionShape(28, 7, 96, 0), 16, true, tokens, tokens);
    attention(candidate, new AttentionShape(20, 2, 128, 0), 16, true, tokens, tokens);
  }

  @ParameterizedTest
  @MethodSource("backends")
  void pagedAttention(Device candidate) {
    int[] mixed = {1, 1, 40, 5};
    int[] ones = {1, 1, 1, 1};
    attention(candidate, new AttentionShape(6, 2, 32, 0), 16, false, mixed, mixed, ones);
    attention(
        candidate, new AttentionShape(5, 5, 10, 0), 3, false, new int[] {7, 1}, new int[] {1, 1});
    attention(
        candidate,
        new AttentionShape(4, 1, 66, 9),
        8,
        false,
        new int[] {25, 2, 1},
        BatchFixture.ones(3));
    attention(
        candidate,
        new AttentionShape(8, 2, 128, 0),
        16,
        false,
        new int[] {1},
        BatchFixture.ones(1),
        BatchFixture.ones(1));
    attention(
        candidate,
        new AttentionShape(20, 1, 160, 0),
        16,
        false,
        new int[] {19, 1},
        BatchFixture.ones(2));
  }

  /** Contexts long enough to be split, with queries in the middle of a split and at its border. */
  @ParameterizedTest
  @MethodSource("backends")
  void longContexts(Device candidate) {
    int[] prompts = {511, 300, 7, 255};
    thenTwoTokensEach(candidate, new AttentionShape(4, 2, 64, 0), 16, prompts);
    thenTwoTokensEach(candidate, new AttentionShape(2, 1, 16, 200), 16, prompts);
    thenTwoTokensEach(candidate, new AttentionShape(4, 1, 128, 0), 32, 600);
  }

  private static void thenTwoTokensEach(
      Device candidate, AttentionShape shape, int block, int... prompts) {
    int[] one = BatchFixture.ones(prompts.length);
    attention(candidate, shape, block, false, prompts, one, one);
  }

  private static void attention(
      Device candidate, AttentionShape shape, int block, boolean turns, int[]... rounds) {
    AttentionFixture.attention(candidate, candidate.kvCacheDType(), shape, block, turns, rounds);
  }
}
