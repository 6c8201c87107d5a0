package dev.gregale.backend;

import dev.gregale.backend.TwoSides.Pair;
import dev.gregale.backend.TwoSides.Side;
import dev.gregale.tensor.Shape;

/** Scratch, poisoned, for the larger ops of one model shape. */
record BlockScratchPair(
    Pair hidden,
    Pair update,
    Pair qkv,
    Pair context,
    Pair logits,
    Pair ids,
    Pair weights,
    Pair localIds) {

  static BlockScratchPair of(
      TwoSides sides, int tokens, int hidden, AttentionShape shape, int e, int k) {
    return new BlockScratchPair(
        sides.poisonedActivations(Shape.of(tokens, hidden)),
        sides.poisoned(Shape.of(tokens, hidden)),
        sides.poisonedActivations(Shape.of(tokens, shape.qkvWidth())),
        sides.poisonedActivations(Shape.of(tokens, shape.numHeads() * shape.headDim())),
        sides.poisoned(Shape.of(tokens, e)),
        sides.poisonedInts(Shape.of(tokens, k)),
        sides.poisoned(Shape.of(tokens, k)),
        sides.poisonedInts(Shape.of(tokens, k)));
  }

  BlockScratch of(Side side, Pair lastHidden) {
    return new BlockScratch(
        side.of(hidden),
        side.of(update),
        side.of(qkv),
        side.of(context),
        side.of(logits),
        new ExpertRouting(side.of(ids), side.of(weights)),
        side.of(localIds),
        side.of(lastHidden));
  }
}
