package dev.gregale.sampling;

import java.util.List;
import java.util.Map;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * How one sequence is to be sampled and when it stops: vLLM's names, OpenAI's defaults. Immutable;
 * made with {@link #builder}. Ranges are checked where the request comes in.
 *
 * @param maxTokens tokens to generate at most; 0 only scores the prompt
 * @param minTokens no stop token is drawn before this many
 * @param temperature 0 is greedy
 * @param topP in (0, 1]
 * @param topK 0 keeps all
 * @param minP in [0, 1], relative to the likeliest token
 * @param repetitionPenalty above 0; 1 for none; over prompt and output
 * @param presencePenalty in [-2, 2]; over output
 * @param frequencyPenalty in [-2, 2]; over output
 * @param noRepeatNgramSize no n-gram of this length recurs in prompt and output; 0 for no such ban
 * @param logitBias token id to bias in [-100, 100]
 * @param seed null draws one at random
 * @param stop strings that end the text
 * @param stopTokenIds ids that end the text, beside the model's own end of sequence
 * @param ignoreEos go on past the model's end of sequence
 * @param includeStopStrInOutput keep the matched stop string in the text
 * @param skipSpecialTokens leave special tokens out of the text
 * @param logprobs -1 for none, else how many likeliest tokens to report beside each token's own
 * @param promptLogprobs the same for the tokens of the prompt
 * @param returnRoutedExperts report the experts of each token, those of the prompt too
 * @param structuredOutput what the output must be; null for anything. The end of sequence is then
 *     drawn where the output is complete, and only there
 * @param beamSearch beam search instead of drawing, whose parameters then have no effect; null for
 *     none
 */
public record SamplingParams(
    int maxTokens,
    int minTokens,
    float temperature,
    float topP,
    int topK,
    float minP,
    float repetitionPenalty,
    float presencePenalty,
    float frequencyPenalty,
    int noRepeatNgramSize,
    Map<Integer, Float> logitBias,
    @Nullable Long seed,
    List<String> stop,
    Set<Integer> stopTokenIds,
    boolean ignoreEos,
    boolean includeStopStrInOutput,
    boolean skipSpecialTokens,
    int logprobs,
    int promptLogprobs,
    boolean returnRoutedExperts,
    @Nullable TokenConstraint structuredOutput,
    @Nullable BeamSearchParams beamSearch) {

  /** The most likeliest tokens that can be asked for. */
  public static final int MAX_LOGPROBS = 20;

  public SamplingParams {
    logitBias = Map.copyOf(logitBias);
    stop = List.copyOf(stop);
    stopTokenIds = Set.copyOf(stopTokenIds);
  }

  /** A builder holding OpenAI's defaults. */
  public static SamplingParamsBuilder builder() {
    return new SamplingParamsBuilder();
  }

  /** Whether drawing needs the counts of the tokens so far. */
  public boolean hasPenalties() {
    return repetitionPenalty != 1 || presencePenalty != 0 || frequencyPenalty != 0;
  }

  /** Whether drawing a token needs to know the one before it, beside the cache. */
  public boolean needsHistory() {
    return hasPenalties() || noRepeatNgramSize > 0 || structuredOutput != null;
  }
}
