package dev.gregale.backend;

import dev.gregale.backend.BlocksFixture.Experts;
import java.util.Arrays;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * {@link KernelsContractTest} for the larger ops, which a backend may compute by kernels of their
 * own.
 */
class BlocksContractTest extends ContractTest {

  /** Batches of decode in several sizes, after a prefill and beside one. */
  @ParameterizedTest
  @MethodSource("backends")
  void attentionBlock(Device candidate) {
    AttentionShape large = new AttentionShape(4, 2, 128, 0);
    BlocksFixture.attention(
        candidate, large, 256, 64, new int[] {70}, BatchFixture.ones(1), new int[] {3});
    for (int seqs : new int[] {3, 8, 9, 40}) {
      int[] prompts = new int[seqs];
      Arrays.setAll(prompts, s -> 1 + 7 * s % 90);
      int[] mixed = BatchFixture.ones(seqs);
      mixed[seqs - 1] = 5;
      BlocksFixture.attention(candidate, large, 256, 16, prompts, BatchFixture.ones(seqs), mixed);
    }
    AttentionShape window = new AttentionShape(8, 1, 64, 20);
    BlocksFixture.attention(
        candidate, window, 320, 32, new int[] {33, 2}, BatchFixture.ones(2), BatchFixture.ones(2));
    AttentionShape odd = new AttentionShape(3, 1, 10, 0);
    BlocksFixture.attention(
        candidate, odd, 50, 5, new int[] {7, 2, 1}, BatchFixture.ones(3), BatchFixture.ones(3));
  }

  @ParameterizedTest
  @MethodSource("backends")
  void expertBlock(Device candidate) {
    for (int tokens : new int[] {1, 2, 8, 9, 33, 200, 300}) {
      BlocksFixture.experts(candidate, null, tokens, Experts.all(8, 2), 256, 192);
      BlocksFixture.experts(candidate, null, tokens, Experts.all(5, 3), 320, 72);
    }
    BlocksFixture.experts(candidate, null, 6, Experts.all(4, 2), 50, 33);
  }

  @ParameterizedTest
  @MethodSource("backends")
  void route(Device candidate) {
    for (int tokens : new int[] {1, 9, 300}) {
      BlocksFixture.route(candidate, tokens, Experts.all(8, 2), 256);
      BlocksFixture.route(candidate, tokens, new Experts(6, 3, 3, 3), 320);
    }
    BlocksFixture.route(candidate, 700, Experts.all(8, 2), 256);
    BlocksFixture.route(candidate, 300, Experts.all(16, 4), 4608);
    BlocksFixture.route(candidate, 6, Experts.all(4, 2), 50);
  }

  @ParameterizedTest
  @MethodSource("backends")
  void addMatmul(Device candidate) {
    for (int rows : new int[] {1, 6, 33, 70, 256, 300, 520}) {
      AdditionsFixture.matmul(candidate, null, rows, 144, 256);
      AdditionsFixture.matmul(candidate, null, rows, 320, 192);
    }
    AdditionsFixture.matmul(candidate, null, 13, 5, 3);
    AdditionsFixture.matmul(candidate, null, 70, 130, 257);
  }

  @ParameterizedTest
  @MethodSource("backends")
  void addExpertFeedForward(Device candidate) {
    for (int rows : new int[] {1, 7, 70, 300}) {
      AdditionsFixture.experts(candidate, null, rows, 8, 2, 192, 192);
      AdditionsFixture.experts(candidate, null, rows, 5, 3, 256, 70);
    }
    AdditionsFixture.experts(candidate, null, 13, 5, 3, 50, 70);
  }

  /** The first, the last and one expert; of few tokens none may be among them. */
  @ParameterizedTest
  @MethodSource("backends")
  void expertBlockOfAShare(Device candidate) {
    for (int tokens : new int[] {1, 2, 8, 9, 33, 200, 300}) {
      for (int first : new int[] {0, 4}) {
        BlocksFixture.experts(candidate, null, tokens, new Experts(8, first, 4, 2), 256, 192);
      }
      BlocksFixture.experts(candidate, null, tokens, new Experts(8, 2, 1, 2), 256, 192);
      BlocksFixture.experts(candidate, null, tokens, new Experts(6, 3, 3, 3), 320, 72);
    }
    BlocksFixture.experts(candidate, null, 6, new Experts(4, 2, 2, 2), 50, 33);
  }

  @ParameterizedTest
  @MethodSource("backends")
  void computeLogits(Device candidate) {
    for (int rows : new int[] {1, 8, 9, 100, 300}) {
      BlocksFixture.logits(candidate, rows, 256, 320);
      BlocksFixture.logits(candidate, rows, 50, 37);
    }
  }
}
