package dev.gregale.web;

import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * What is new of one choice: in a whole answer, all of it.
 *
 * @param prompt that it continues
 * @param index of the choice
 * @param text that was added
 * @param logprobs of the tokens added; null if there are none or none were asked for
 * @param tokenIds that were added; null if they were not asked for
 * @param routedExperts base64 of those of the tokens that were fed; null if there are none
 * @param promptLogprobs null if they were not asked for
 * @param finishReason null before the end
 */
record Piece<L>(
    Prompt prompt,
    int index,
    String text,
    @Nullable L logprobs,
    @Nullable List<Integer> tokenIds,
    @Nullable String routedExperts,
    @Nullable List<@Nullable Map<Integer, PromptLogprob>> promptLogprobs,
    @Nullable String finishReason) {

  /** Whether there is anything to tell. */
  boolean isNews() {
    return !text.isEmpty()
        || logprobs != null
        || routedExperts != null
        || finishReason != null
        || (tokenIds != null && !tokenIds.isEmpty());
  }

  /** The prompt's ids where token ids are reported; else null. */
  int @Nullable [] promptTokenIds() {
    return tokenIds == null ? null : prompt.tokenIds();
  }
}
