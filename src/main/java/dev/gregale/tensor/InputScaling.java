package dev.gregale.tensor;

/**
 * How the inputs of a product with a quantised weight are quantised themselves (W8A8). Every kind
 * gives a row scales of its own, or one that was fixed before: a row's codes never depend on its
 * batch.
 *
 * @param kind which inputs share a scale, and how it is found
 * @param when whether the inputs are quantised
 * @param scale of {@link Kind#STATIC}: value = code * scale; else 1
 */
public record InputScaling(Kind kind, When when, float scale) {

  /** TransformerEngine's recipes, as far as they concern inputs. */
  public enum Kind {
    /** One fp32 scale per row, from its largest value: Float8CurrentScaling by row. */
    PER_ROW,
    /** One fp32 scale per 128 inputs of a row: Float8BlockScaling with fp32 scales. */
    BLOCK_128,
    /** The same, but powers of two: Float8BlockScaling. */
    BLOCK_128_POW2,
    /** One E8M0 scale per 32 inputs of a row, its exponent rounded up: MXFP8BlockScaling. */
    MX_32,
    /** A scale that the checkpoint brings: DelayedScaling, whose scales are frozen in inference. */
    STATIC
  }

  /** Whether inputs are quantised. */
  public enum When {
    /** Never: W8A16. */
    NEVER,
    /**
     * In products of many rows, where a backend has kernels that are faster so; never on the CPU,
     * and never where a row must have the same bits in every batch.
     */
    IF_FASTER,
    /** In every product, of one row too. */
    ALWAYS
  }

  public InputScaling {
    if (!(scale > 0 && scale < Float.POSITIVE_INFINITY)) {
      throw new IllegalArgumentException("an input scale of " + scale);
    }
  }

  public static InputScaling of(Kind kind, When when) {
    return new InputScaling(kind, when, 1);
  }
}
