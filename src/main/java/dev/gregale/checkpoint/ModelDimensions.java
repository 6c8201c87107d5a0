package dev.gregale.checkpoint;

/**
 * The lengths that decide the shapes of a model's tensors.
 *
 * @param hiddenSize D
 * @param numLayers decoder layers
 * @param numHeads H, query heads; a multiple of G
 * @param numKvHeads G, key/value heads
 * @param headDim d
 * @param numExperts E
 * @param intermediateSize I, of one expert
 * @param vocabSize V
 * @param tiedEmbeddings whether lm_head is the embedding
 */
public record ModelDimensions(
    int hiddenSize,
    int numLayers,
    int numHeads,
    int numKvHeads,
    int headDim,
    int numExperts,
    int intermediateSize,
    int vocabSize,
    boolean tiedEmbeddings) {

  public ModelDimensions {
    int smallest =
        Math.min(
            Math.min(Math.min(hiddenSize, numLayers), Math.min(numHeads, numKvHeads)),
            Math.min(Math.min(headDim, numExperts), Math.min(intermediateSize, vocabSize)));
    if (smallest < 1 || numHeads % numKvHeads != 0) {
      throw new IllegalArgumentException(
          "expected lengths of 1 or more and query heads a multiple of key/value heads: "
              + "D=%d layers=%d H=%d G=%d d=%d E=%d I=%d V=%d"
                  .formatted(
                      hiddenSize,
                      numLayers,
                      numHeads,
                      numKvHeads,
                      headDim,
                      numExperts,
                      intermediateSize,
                      vocabSize));
    }
  }

  /** H d. */
  public long queryWidth() {
    return (long) numHeads * headDim;
  }

  /** G d. */
  public long keyWidth() {
    return (long) numKvHeads * headDim;
  }

  /** (H + 2G) d. */
  public long qkvWidth() {
    return queryWidth() + 2 * keyWidth();
  }
}
