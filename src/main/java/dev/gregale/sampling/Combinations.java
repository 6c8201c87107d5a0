package dev.gregale.sampling;

import java.util.LinkedHashMap;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/** Which parameters do not go together. */
public final class Combinations {

  private Combinations() {}

  /**
   * The parameter, by its name in the API, that keeps structured output from ending where it is
   * complete; null if there is none.
   */
  public static @Nullable String besideStructuredOutput(SamplingParams params) {
    return params.structuredOutput() == null ? null : firstSet(bending(params));
  }

  /** The parameter that beam search would have to ignore; null if there is none. */
  public static @Nullable String besideBeamSearch(SamplingParams params) {
    if (params.beamSearch() == null) {
      return null;
    }
    Map<String, Boolean> set = bending(params);
    set.remove("ignore_eos");
    set.put("response_format", params.structuredOutput() != null);
    set.put("repetition_penalty", params.repetitionPenalty() != 1);
    set.put("presence_penalty", params.presencePenalty() != 0);
    set.put("frequency_penalty", params.frequencyPenalty() != 0);
    set.put("logit_bias", !params.logitBias().isEmpty());
    set.put("stop", !params.stop().isEmpty());
    set.put("stop_token_ids", !params.stopTokenIds().isEmpty());
    set.put("prompt_logprobs", params.promptLogprobs() >= 0);
    set.put("return_routed_experts", params.returnRoutedExperts());
    return firstSet(set);
  }

  /** What bends a sequence's end. */
  private static Map<String, Boolean> bending(SamplingParams params) {
    Map<String, Boolean> set = new LinkedHashMap<>();
    set.put("min_tokens", params.minTokens() > 0);
    set.put("ignore_eos", params.ignoreEos());
    set.put("no_repeat_ngram_size", params.noRepeatNgramSize() > 0);
    return set;
  }

  private static @Nullable String firstSet(Map<String, Boolean> set) {
    return set.entrySet().stream()
        .filter(Map.Entry::getValue)
        .map(Map.Entry::getKey)
        .findFirst()
        .orElse(null);
  }
}
