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

  /**
   * The lengths that a model's {@code config.json} gives.
   *
   * @throws CheckpointException if one is missing or cannot be
   */
  public static ModelDimensions of(ConfigJson config) {
    int heads = config.requiredInt("num_attention_heads");
    Integer keyValueHeads = config.optionalInt("num_key_value_heads");
    try {
      return new ModelDimensions(
          config.requiredInt("hidden_size"),
          config.requiredInt("num_hidden_layers"),
          heads,
          keyValueHeads == null ? heads : keyValueHeads,
          headDim(config, heads),
          config.requiredInt("num_local_experts"),
          config.requiredInt("intermediate_size"),
          config.requiredInt("vocab_size"),
          config.optionalBoolean("tie_word_embeddings", false));
    } catch (IllegalArgumentException e) {
      throw config.invalid(e);
    }
  }

  /** {@code head_dim}, or what hidden_size leaves to each of the query heads. */
  public static int headDim(ConfigJson config, int heads) {
    Integer headDim = config.optionalInt("head_dim");
    if (headDim != null) {
      return headDim;
    }
    int hidden = config.requiredInt("hidden_size");
    if (heads < 1 || hidden % heads != 0) {
      throw config.wrong(
          "num_attention_heads", heads, "a divisor of hidden_size, " + hidden + ", or a head_dim");
    }
    return hidden / heads;
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
