package dev.gregale.model;

import dev.gregale.backend.AttentionShape;
import dev.gregale.checkpoint.CheckpointException;
import dev.gregale.checkpoint.ModelDimensions;
import dev.gregale.tensor.DType;
import java.nio.file.Path;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * What a Mixtral is: the keys of Hugging Face's {@code config.json} that decide the forward pass.
 * Every length is bounded, so products of a few of them fit a long.
 *
 * @param vocabSize V
 * @param hiddenSize D
 * @param intermediateSize I, of one expert
 * @param numHiddenLayers decoder layers
 * @param numAttentionHeads H, a multiple of G
 * @param numKeyValueHeads G
 * @param headDim d, even; D / H where the file says null
 * @param numLocalExperts E
 * @param numExpertsPerTok K, at most E
 * @param maxPositionEmbeddings tokens of the longest sequence
 * @param rmsNormEps epsilon of every RMSNorm
 * @param ropeTheta base of the RoPE angles
 * @param slidingWindow keys visible to a query, itself included; 0 for all
 * @param tieWordEmbeddings whether lm_head is the embedding
 * @param dtype what the weights were saved as; each tensor of a checkpoint says so itself
 * @param bosTokenId begin of sequence, null for none
 * @param eosTokenIds ends of sequence; {@code generation_config.json} goes before config.json
 */
public record MixtralConfig(
    int vocabSize,
    int hiddenSize,
    int intermediateSize,
    int numHiddenLayers,
    int numAttentionHeads,
    int numKeyValueHeads,
    int headDim,
    int numLocalExperts,
    int numExpertsPerTok,
    int maxPositionEmbeddings,
    float rmsNormEps,
    double ropeTheta,
    int slidingWindow,
    boolean tieWordEmbeddings,
    DType dtype,
    @Nullable Integer bosTokenId,
    List<Integer> eosTokenIds) {

  private static final int MAX_EOS_IDS = 64;

  /**
   * @throws IllegalArgumentException if a value is out of range; the message names the key of
   *     config.json, the value and what is allowed
   */
  public MixtralConfig {
    eosTokenIds = List.copyOf(eosTokenIds);
    requireRange("vocab_size", vocabSize, 1, 1 << 22);
    requireRange("hidden_size", hiddenSize, 1, 1 << 17);
    requireRange("intermediate_size", intermediateSize, 1, 1 << 20);
    requireRange("num_hidden_layers", numHiddenLayers, 1, 1024);
    requireRange("num_attention_heads", numAttentionHeads, 1, 1024);
    requireRange("num_key_value_heads", numKeyValueHeads, 1, numAttentionHeads);
    requireRange("head_dim", headDim, 2, 1024);
    requireRange("num_local_experts", numLocalExperts, 1, 1024);
    requireRange("num_experts_per_tok", numExpertsPerTok, 1, numLocalExperts);
    requireRange("max_position_embeddings", maxPositionEmbeddings, 1, 1 << 24);
    requireRange("sliding_window", slidingWindow, 0, Integer.MAX_VALUE);
    require(
        numAttentionHeads % numKeyValueHeads == 0,
        "num_attention_heads",
        numAttentionHeads,
        "a multiple of num_key_value_heads, " + numKeyValueHeads);
    require(headDim % 2 == 0, "head_dim", headDim, "an even number: RoPE turns pairs");
    require(rmsNormEps > 0 && rmsNormEps < 1, "rms_norm_eps", rmsNormEps, "between 0 and 1");
    require(ropeTheta >= 1 && ropeTheta <= 1e12, "rope_theta", ropeTheta, "from 1 to 1e12");
    require(dtype.isWeight(), "dtype", dtype, "F32, F16 or BF16");
    if (bosTokenId != null) {
      requireRange("bos_token_id", bosTokenId, 0, vocabSize - 1);
    }
    for (int id : eosTokenIds) {
      requireRange("eos_token_id", id, 0, vocabSize - 1);
    }
    require(eosTokenIds.size() <= MAX_EOS_IDS, "eos_token_id", eosTokenIds, "at most 64 ids");
  }

  /**
   * Reads {@code config.json}, in the older or the newer spelling, Hugging Face's or
   * TransformerEngine's, and {@code generation_config.json} where there is one. Unknown keys are
   * ignored.
   *
   * @throws CheckpointException if a file is malformed or describes what cannot be run; the message
   *     names file, key, value and what is allowed
   */
  public static MixtralConfig read(Path directory) {
    return MixtralConfigReader.read(directory);
  }

  /** What the shapes of a checkpoint's tensors follow from. */
  public ModelDimensions dimensions() {
    return new ModelDimensions(
        hiddenSize,
        numHiddenLayers,
        numAttentionHeads,
        numKeyValueHeads,
        headDim,
        numLocalExperts,
        intermediateSize,
        vocabSize,
        tieWordEmbeddings);
  }

  public AttentionShape attentionShape() {
    return new AttentionShape(numAttentionHeads, numKeyValueHeads, headDim, slidingWindow);
  }

  private static void requireRange(String key, int value, int min, int max) {
    require(value >= min && value <= max, key, value, "from " + min + " to " + max);
  }

  private static void require(boolean allowed, String key, Object value, String expected) {
    if (!allowed) {
      throw new IllegalArgumentException(
          "%s: found %s, expected %s".formatted(key, value, expected));
    }
  }
}
