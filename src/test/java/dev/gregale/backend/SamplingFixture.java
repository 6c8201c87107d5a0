package dev.gregale.backend;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gregale.backend.TwoSides.Pair;
import dev.gregale.backend.TwoSides.Side;
import dev.gregale.tensor.Shape;
import java.util.function.IntFunction;

/** Rows that each sample in another way, on both sides. */
final class SamplingFixture {
  private static final int TOP = 20;
  private final Pair temperature;
  private final Pair topK;
  private final Pair topP;
  private final Pair minP;
  private final Pair repetition;
  private final Pair presence;
  private final Pair frequency;
  private final Pair seed;
  private final Pair position;
  private final Pair given;
  private final Pair numLogprobs;
  private final Pair offsets;
  private final Pair adjustTokens;
  private final Pair adjustCounts;
  private final Pair adjustBias;
  private final Pair maskRow;
  private final Pair allowed;
  private final int[] masks;
  private final Pair tokens;
  private final Pair logprobs;
  private final Pair topTokens;
  private final Pair topLogprobs;

  SamplingFixture(TwoSides sides, int rows, int vocabSize) {
    temperature = floats(sides, rows, i -> i % 5 == 0 ? 0f : 0.3f * (i % 7));
    topK = ints(sides, rows, i -> i % 3 == 0 ? 0 : 1 + i);
    topP = floats(sides, rows, i -> i % 4 == 0 ? 1f : 0.2f + 0.02f * i);
    minP = floats(sides, rows, i -> i % 6 == 0 ? 0.05f : 0f);
    repetition = floats(sides, rows, i -> 1 + 0.1f * (i % 3));
    presence = floats(sides, rows, i -> 0.5f * (i % 2));
    frequency = floats(sides, rows, i -> -0.3f * (i % 3));
    seed = sides.longs(Shape.of(rows), sides.random.longs(rows).toArray());
    position = ints(sides, rows, i -> 100 * i);
    given = ints(sides, rows, i -> isGiven(i) ? i : -1);
    numLogprobs = ints(sides, rows, i -> i % 4 == 0 ? -1 : Math.min(i - 1, TOP));
    int perRow = 6;
    offsets = ints(sides, rows + 1, i -> i * perRow);
    adjustTokens = ints(sides, rows * perRow, i -> (i * 37) % vocabSize);
    adjustCounts = ints(sides, rows * perRow, i -> i % 6 - 2);
    adjustBias =
        floats(sides, rows * perRow, i -> i % 11 == 0 ? Float.NEGATIVE_INFINITY : 2f * (i % 3));
    maskRow = ints(sides, rows, SamplingFixture::maskRow);
    int words = (vocabSize + 31) / 32;
    masks = sides.random.ints((long) rows * words).toArray();
    allowed = sides.ints(Shape.of(rows, words), masks);
    tokens = sides.poisonedInts(Shape.of(rows));
    logprobs = sides.poisoned(Shape.of(rows, 1));
    topTokens = sides.poisonedInts(Shape.of(rows, TOP));
    topLogprobs = sides.poisoned(Shape.of(rows, TOP));
  }

  private static boolean isGiven(int row) {
    return row % 8 == 3;
  }

  private static int maskRow(int row) {
    return row % 3 == 1 ? row / 2 : SamplingInputs.NO_MASK;
  }

  private static Pair ints(TwoSides sides, int count, IntFunction<Integer> value) {
    int[] values = new int[count];
    for (int i = 0; i < count; i++) {
      values[i] = value.apply(i);
    }
    return sides.ints(Shape.of(count), values);
  }

  private static Pair floats(TwoSides sides, int count, IntFunction<Float> value) {
    float[] values = new float[count];
    for (int i = 0; i < count; i++) {
      values[i] = value.apply(i);
    }
    return sides.floats(Shape.of(count), values);
  }

  SamplingInputs inputs(Side side) {
    return new SamplingInputs(
        side.of(temperature),
        side.of(topK),
        side.of(topP),
        side.of(minP),
        side.of(repetition),
        side.of(presence),
        side.of(frequency),
        side.of(seed),
        side.of(position),
        side.of(given),
        side.of(numLogprobs),
        side.of(offsets),
        side.of(adjustTokens),
        side.of(adjustCounts),
        side.of(adjustBias),
        side.of(maskRow),
        side.of(allowed));
  }

  SamplingOutputs outputs(Side side) {
    return new SamplingOutputs(
        side.of(tokens), side.of(logprobs), side.of(topTokens), side.of(topLogprobs));
  }

  /** Rows with a mask draw only what it allows. */
  void assertMasked(TwoSides sides, int rows) {
    int[] found = sides.candidateInts(tokens);
    int words = masks.length / rows;
    int masked = 0;
    for (int row = 0; row < rows; row++) {
      int mask = maskRow(row);
      if (mask != SamplingInputs.NO_MASK && !isGiven(row)) {
        int word = masks[mask * words + found[row] / 32];
        assertEquals(1, word >> found[row] % 32 & 1, "row " + row + " drew " + found[row]);
        masked++;
      }
    }
    assertTrue(masked > 3);
  }

  void assertSame(TwoSides sides, int rows) {
    sides.assertSameInts("tokens", tokens, rows);
    sides.assertSameInts("top tokens", topTokens, rows * TOP);
    // Where none were asked for both sides must still hold the poison, which is equal to nothing.
    sides.assertCloseOrPoisoned("logprobs", logprobs, rows, 1e-5);
    sides.assertCloseOrPoisoned("top logprobs", topLogprobs, rows, 1e-5);
  }
}
