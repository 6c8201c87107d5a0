package dev.gregale.web;

import com.fasterxml.jackson.annotation.JsonInclude;
import com.fasterxml.jackson.annotation.JsonProperty;
import com.fasterxml.jackson.annotation.JsonPropertyOrder;
import io.swagger.v3.oas.annotations.media.Schema;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * Tokens read and written. Every prompt counts once, every sequence generated counts.
 *
 * @param promptTokensDetails null for one sequence of several, before the end
 */
@JsonPropertyOrder({"prompt_tokens", "completion_tokens", "total_tokens", "prompt_tokens_details"})
@Schema(name = "CompletionUsage")
record Usage(
    @JsonProperty("prompt_tokens") int promptTokens,
    @JsonProperty("completion_tokens") int completionTokens,
    @JsonProperty("total_tokens") int totalTokens,
    @JsonProperty("prompt_tokens_details") @JsonInclude(JsonInclude.Include.NON_NULL)
        @Nullable PromptDetails promptTokensDetails) {

  /**
   * Of the tokens read.
   *
   * @param cachedTokens did not have to be computed: an earlier request began with them
   */
  @Schema(name = "PromptTokensDetails")
  record PromptDetails(@JsonProperty("cached_tokens") int cachedTokens) {}

  /** What is read and written so far. */
  Usage(int promptTokens, int completionTokens) {
    this(promptTokens, completionTokens, null);
  }

  private Usage(int promptTokens, int completionTokens, @Nullable PromptDetails details) {
    this(promptTokens, completionTokens, promptTokens + completionTokens, details);
  }

  static Usage of(Completion completion, List<? extends SequenceOutput<?>> outputs) {
    return new Usage(
        completion.prompts().stream().mapToInt(p -> p.tokenIds().length).sum(),
        outputs.stream().mapToInt(SequenceOutput::completionTokens).sum(),
        new PromptDetails(cachedTokens(outputs, completion.generation().n())));
  }

  /** What each prompt's first sequence found: the others may have found what that one computed. */
  private static int cachedTokens(List<? extends SequenceOutput<?>> outputs, int n) {
    int sum = 0;
    for (int first = 0; first < outputs.size(); first += n) {
      sum += outputs.get(first).cachedTokens();
    }
    return sum;
  }
}
