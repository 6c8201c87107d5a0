package dev.gregale.backend;

/**
 * How to sample each row of logits, in device-visible arrays. Legend: R rows, A adjustments, M
 * masks, W words of a mask: {@code ceil(V / 32)}.
 *
 * <p>A row's logits are changed in Hugging Face's order: what its mask does not allow becomes
 * negative infinity, then adjustments and penalties, temperature, top-k, top-p, min-p; then one
 * token is drawn by a counter-based generator from (seed, position), so that a draw depends on
 * nothing but its own row.
 *
 * @param temperature fp32 {@code [R]}; 0 is greedy
 * @param topK int32 {@code [R]}; 0 keeps all
 * @param topP fp32 {@code [R]}; 1 keeps all
 * @param minP fp32 {@code [R]}; 0 keeps all
 * @param repetitionPenalty fp32 {@code [R]}; 1 for none
 * @param presencePenalty fp32 {@code [R]}; 0 for none
 * @param frequencyPenalty fp32 {@code [R]}; 0 for none
 * @param seed int64 {@code [R]}
 * @param position int32 {@code [R]}, position of the token to be drawn
 * @param givenToken int32 {@code [R]}; -1 draws, any other id is not drawn but scored
 * @param numLogprobs int32 {@code [R]}; -1 for none, else how many of the best beside the token's
 * @param adjustOffsets int32 {@code [R + 1]}, each row's slice of the three arrays below
 * @param adjustTokens int32 {@code [A]}, vocabulary ids, distinct within a row
 * @param adjustCounts int32 {@code [A]}, how often that id was generated; {@link #ONLY_IN_PROMPT}
 *     or {@link #ONLY_BIASED} if never
 * @param adjustBias fp32 {@code [A]}, added to the logit; negative infinity bans the id
 * @param maskRow int32 {@code [R]}, the row's mask; {@link #NO_MASK} allows all ids
 * @param allowedTokens int32 {@code [M, W]}, masks: bit {@code id % 32} of word {@code id / 32}
 */
public record SamplingInputs(
    Tensor temperature,
    Tensor topK,
    Tensor topP,
    Tensor minP,
    Tensor repetitionPenalty,
    Tensor presencePenalty,
    Tensor frequencyPenalty,
    Tensor seed,
    Tensor position,
    Tensor givenToken,
    Tensor numLogprobs,
    Tensor adjustOffsets,
    Tensor adjustTokens,
    Tensor adjustCounts,
    Tensor adjustBias,
    Tensor maskRow,
    Tensor allowedTokens) {

  /** In {@code adjustCounts}: the id stands in the prompt, but was not generated. */
  public static final int ONLY_IN_PROMPT = -1;

  /** In {@code adjustCounts}: the id is biased, but stands nowhere. */
  public static final int ONLY_BIASED = -2;

  /** In {@code maskRow}: every id may be drawn. */
  public static final int NO_MASK = -1;
}
