package dev.gregale.web;

import com.fasterxml.jackson.annotation.JsonInclude;
import com.fasterxml.jackson.annotation.JsonProperty;
import com.fasterxml.jackson.annotation.JsonPropertyOrder;
import io.swagger.v3.oas.annotations.media.Schema;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * OpenAI's completion object, whole or as one event of a stream that ends with the usage.
 *
 * @param usage null in every event but the last
 */
@JsonInclude(JsonInclude.Include.ALWAYS)
@JsonPropertyOrder({"id", "object", "created", "model", "choices", "usage"})
record CompletionResponse(
    String id,
    @Schema(allowableValues = OBJECT) String object,
    @Schema(description = "Unix time in seconds.") long created,
    String model,
    List<Choice> choices,
    @Nullable Usage usage) {
  static final String OBJECT = "text_completion";

  CompletionResponse(Completion completion, List<Choice> choices, @Nullable Usage usage) {
    this(completion.id(), OBJECT, completion.created(), completion.model(), choices, usage);
  }

  /** One event of a stream without usage: the same object, without the key. */
  @JsonInclude(JsonInclude.Include.ALWAYS)
  @JsonPropertyOrder({"id", "object", "created", "model", "choices"})
  record Chunk(String id, String object, long created, String model, List<Choice> choices) {
    Chunk(Completion completion, Choice choice) {
      this(completion.id(), OBJECT, completion.created(), completion.model(), List.of(choice));
    }
  }

  /**
   * One completion; all four keys are always there.
   *
   * @param index prompt-major: prompt p's i-th choice is {@code p * n + i}
   * @param finishReason null until the last event of a choice
   */
  @JsonInclude(JsonInclude.Include.ALWAYS)
  @JsonPropertyOrder({"text", "index", "logprobs", "finish_reason"})
  @Schema(name = "CompletionChoice")
  record Choice(
      String text,
      int index,
      @Nullable Logprobs logprobs,
      @Schema(allowableValues = {"stop", "length"}) @JsonProperty("finish_reason")
          @Nullable String finishReason) {}

  /**
   * Log-probabilities, one entry per token in each list.
   *
   * @param tokens each token's text; {@code bytes:\xNN} for a byte that is no whole character
   * @param tokenLogprobs null for the first token of a prompt
   * @param topLogprobs the likeliest tokens and the token itself; null for a prompt's first token
   * @param textOffset where the token begins in prompt and completion, in Unicode code points
   */
  @JsonInclude(JsonInclude.Include.ALWAYS)
  @JsonPropertyOrder({"tokens", "token_logprobs", "top_logprobs", "text_offset"})
  @Schema(name = "CompletionLogprobs")
  record Logprobs(
      List<String> tokens,
      @JsonProperty("token_logprobs") List<@Nullable Float> tokenLogprobs,
      @JsonProperty("top_logprobs") List<@Nullable Map<String, Float>> topLogprobs,
      @JsonProperty("text_offset") List<Integer> textOffset) {}

  /** Tokens read and written. Every prompt counts once, every sequence generated counts. */
  @JsonPropertyOrder({"prompt_tokens", "completion_tokens", "total_tokens"})
  @Schema(name = "CompletionUsage")
  record Usage(
      @JsonProperty("prompt_tokens") int promptTokens,
      @JsonProperty("completion_tokens") int completionTokens,
      @JsonProperty("total_tokens") int totalTokens) {

    static Usage of(Completion completion, int completionTokens) {
      int promptTokens = completion.prompts().stream().mapToInt(p -> p.tokenIds().length).sum();
      return new Usage(promptTokens, completionTokens, promptTokens + completionTokens);
    }
  }
}
