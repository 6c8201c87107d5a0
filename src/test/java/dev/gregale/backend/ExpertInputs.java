package dev.gregale.backend;

import dev.gregale.backend.BlocksFixture.Experts;
import dev.gregale.backend.TwoSides.Pair;
import dev.gregale.backend.TwoSides.Side;
import dev.gregale.backend.cpu.CpuBackends;
import dev.gregale.quantization.Recipe;
import dev.gregale.tensor.Shape;
import java.util.Arrays;
import java.util.Collections;
import org.jspecify.annotations.Nullable;

/**
 * What an expert block takes on two sides. Every token is a sequence of its own; the router's
 * choices are no ties.
 *
 * @param residual fp32 {@code [T + 1, D]}
 */
record ExpertInputs(
    TwoSides sides,
    Pair norm,
    Pair router,
    Pair gateUp,
    Pair down,
    int firstExpert,
    BatchFixture batch,
    Pair residual,
    BlockScratchPair scratch,
    Pair lastHidden) {

  /**
   * @param recipe of the experts; null: not quantised
   */
  static ExpertInputs of(
      Device candidate,
      @Nullable Recipe recipe,
      int tokens,
      Experts experts,
      int hidden,
      int inner) {
    int count = experts.count();
    TwoSides sides = new TwoSides(CpuBackends.oracle(), candidate, tokens + hidden);
    Shape routerShape = Shape.of(experts.all(), hidden);
    float[] router = TwoSides.heldByBf16(sides.gaussians(routerShape, 0.3 / Math.sqrt(hidden)));
    Pair gateUp =
        BlocksFixture.linear(
            sides,
            WeightRole.EXPERTS_GATE_UP,
            Shape.of(count, 2L * inner, hidden),
            hidden,
            recipe,
            Collections.nCopies(2 * count, inner));
    Pair down =
        BlocksFixture.linear(
            sides,
            WeightRole.EXPERTS_DOWN,
            Shape.of(count, hidden, inner),
            inner,
            recipe,
            Collections.nCopies(count, hidden));
    float[] ones = new float[hidden];
    Arrays.fill(ones, 1);
    int[] lengths = BatchFixture.ones(tokens);
    AttentionShape none = new AttentionShape(1, 1, 2, 0);
    return new ExpertInputs(
        sides,
        sides.weight(WeightRole.NORM, Shape.of(hidden), ones),
        sides.weight(WeightRole.ROUTER, routerShape, router),
        gateUp,
        down,
        experts.first(),
        new BatchFixture(sides, lengths, lengths, BatchFixture.shuffledBlocks(tokens, 1, 3), 16),
        sides.floats(Shape.of(tokens + 1, hidden), tokens(sides, tokens, experts, router, hidden)),
        BlockScratchPair.of(sides, tokens, hidden, none, experts.all(), experts.perToken()),
        sides.poisonedActivations(Shape.of(1, hidden)));
  }

  /** Noise, and of K experts' router rows so much that these are chosen, in that order. */
  private static float[] tokens(
      TwoSides sides, int tokens, Experts experts, float[] router, int hidden) {
    float[] values = sides.gaussians(Shape.of(tokens + 1, hidden), 0.05);
    int perToken = experts.perToken();
    for (int t = 0; t < tokens; t++) {
      for (int slot = 0; slot < perToken; slot++) {
        int expert = (t * t + 3 * t / 2 + slot) % Math.max(perToken, experts.all() - 1);
        for (int i = 0; i < hidden; i++) {
          values[t * hidden + i] +=
              (float) ((1.6 - 0.4 * slot) * Math.sqrt(hidden) * router[expert * hidden + i]);
        }
      }
    }
    return values;
  }

  ExpertWeights weights(Side side) {
    return new ExpertWeights(
        side.of(norm), side.of(router), side.of(gateUp), side.of(down), firstExpert);
  }

  BlockScratch scratch(Side side) {
    return scratch.of(side, lastHidden);
  }
}
