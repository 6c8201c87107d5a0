package dev.gregale.web;

import com.fasterxml.jackson.annotation.JsonInclude;
import com.fasterxml.jackson.annotation.JsonProperty;
import com.fasterxml.jackson.annotation.JsonPropertyOrder;
import io.swagger.v3.oas.annotations.media.Schema;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/** OpenAI's completion object. */
@JsonPropertyOrder({"id", "object", "created", "model", "choices", "usage"})
record CompletionResponse(
    String id,
    @Schema(allowableValues = OBJECT) String object,
    @Schema(description = "Unix time in seconds.") long created,
    String model,
    List<Choice> choices,
    Usage usage) {
  static final String OBJECT = "text_completion";

  CompletionResponse(Completion completion, List<Choice> choices, Usage usage) {
    this(completion.id(), OBJECT, completion.created(), completion.model(), choices, usage);
  }

  /** One event of a stream: the same object, without usage. */
  @JsonPropertyOrder({"id", "object", "created", "model", "choices"})
  record Chunk(String id, String object, long created, String model, List<Choice> choices) {
    Chunk(Completion completion, List<Choice> choices) {
      this(completion.id(), OBJECT, completion.created(), completion.model(), choices);
    }
  }

  /**
   * One completion; the first four keys are always there, the others where they were asked for.
   *
   * @param index prompt-major: prompt p's i-th choice is {@code p * n + i}
   * @param finishReason null until the last event of a choice
   * @param promptTokenIds only in the first event of a choice
   */
  @JsonInclude(JsonInclude.Include.ALWAYS)
  @JsonPropertyOrder({
    "text",
    "index",
    "logprobs",
    "finish_reason",
    "prompt_logprobs",
    "prompt_token_ids",
    "token_ids",
    "routed_experts"
  })
  @Schema(name = "CompletionChoice")
  record Choice(
      String text,
      int index,
      @Nullable Logprobs logprobs,
      @Schema(allowableValues = {"stop", "length"}) @JsonProperty("finish_reason")
          @Nullable String finishReason,
      @Schema(description = PROMPT_LOGPROBS)
          @JsonProperty("prompt_logprobs")
          @JsonInclude(JsonInclude.Include.NON_NULL)
          @Nullable List<@Nullable Map<Integer, PromptLogprob>> promptLogprobs,
      @Schema(description = "With return_token_ids.")
          @JsonProperty("prompt_token_ids")
          @JsonInclude(JsonInclude.Include.NON_NULL)
          int @Nullable [] promptTokenIds,
      @Schema(description = "With return_token_ids.")
          @JsonProperty("token_ids")
          @JsonInclude(JsonInclude.Include.NON_NULL)
          @Nullable List<Integer> tokenIds,
      @Schema(description = ROUTED_EXPERTS)
          @JsonProperty("routed_experts")
          @JsonInclude(JsonInclude.Include.NON_NULL)
          @Nullable String routedExperts) {}

  /** What the documentation says of routed_experts. */
  static final String ROUTED_EXPERTS =
      "With return_routed_experts: base64 of a .npy file, uint8 (uint16 above 256 experts) [tokens,"
          + " layers, experts per token], best first. Its tokens are those of the prompt and of the"
          + " answer but the last, which the model was not fed. Those of a stream's events follow"
          + " each other.";

  /** What the documentation says of prompt_logprobs. */
  static final String PROMPT_LOGPROBS =
      "With prompt_logprobs: for each prompt token, token ids to what might have stood there.";

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
}
