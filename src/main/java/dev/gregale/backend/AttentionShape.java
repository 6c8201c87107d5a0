package dev.gregale.backend;

/**
 * What attention needs to know of the model.
 *
 * @param numHeads H, query heads
 * @param numKvHeads G, key/value heads; H is a multiple of G
 * @param headDim d
 * @param slidingWindow keys visible to a query, itself included; 0 for all
 */
public record AttentionShape(int numHeads, int numKvHeads, int headDim, int slidingWindow) {

  public AttentionShape {
    if (numKvHeads < 1 || numHeads % numKvHeads != 0) {
      throw new IllegalArgumentException(
          numHeads + " query heads are not a multiple of " + numKvHeads + " key/value heads");
    }
  }

  /** Softmax scale, 1 / sqrt(d). */
  public float scale() {
    return (float) (1.0 / Math.sqrt(headDim));
  }

  /** First position that a query at {@code position} sees. */
  public int firstVisible(int position) {
    return slidingWindow == 0 ? 0 : Math.max(0, position - slidingWindow + 1);
  }

  /** Width of a fused QKV row: H query heads, then G key heads, then G value heads, each of d. */
  public int qkvWidth() {
    return (numHeads + 2 * numKvHeads) * headDim;
  }
}
