package dev.gregale.web;

import com.fasterxml.jackson.annotation.JsonInclude;
import com.fasterxml.jackson.annotation.JsonProperty;
import com.fasterxml.jackson.annotation.JsonPropertyOrder;
import io.swagger.v3.oas.annotations.media.Schema;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/** OpenAI's chat completion object; vLLM's last two keys only where they were asked for. */
@JsonPropertyOrder({
  "id",
  "object",
  "created",
  "model",
  "choices",
  "usage",
  "prompt_logprobs",
  "prompt_token_ids"
})
record ChatResponse(
    String id,
    @Schema(allowableValues = OBJECT) String object,
    @Schema(description = "Unix time in seconds.") long created,
    String model,
    List<Choice> choices,
    Usage usage,
    @Schema(description = CompletionResponse.PROMPT_LOGPROBS)
        @JsonProperty("prompt_logprobs")
        @JsonInclude(JsonInclude.Include.NON_NULL)
        @Nullable List<@Nullable Map<Integer, PromptLogprob>> promptLogprobs,
    @Schema(description = "With return_token_ids.")
        @JsonProperty("prompt_token_ids")
        @JsonInclude(JsonInclude.Include.NON_NULL)
        int @Nullable [] promptTokenIds) {
  static final String OBJECT = "chat.completion";
  static final String ASSISTANT = "assistant";

  ChatResponse(
      Completion completion,
      List<Choice> choices,
      Usage usage,
      @Nullable List<@Nullable Map<Integer, PromptLogprob>> promptLogprobs,
      int @Nullable [] promptTokenIds) {
    this(
        completion.id(),
        OBJECT,
        completion.created(),
        completion.model(),
        choices,
        usage,
        promptLogprobs,
        promptTokenIds);
  }

  /** One answer; all keys but the last two are always there. */
  @JsonInclude(JsonInclude.Include.ALWAYS)
  @JsonPropertyOrder({
    "index",
    "message",
    "logprobs",
    "finish_reason",
    "token_ids",
    "routed_experts"
  })
  @Schema(name = "ChatChoice")
  record Choice(
      int index,
      Reply message,
      @Nullable Logprobs logprobs,
      @Schema(allowableValues = {"stop", "length"}) @JsonProperty("finish_reason")
          @Nullable String finishReason,
      @Schema(description = "With return_token_ids.")
          @JsonProperty("token_ids")
          @JsonInclude(JsonInclude.Include.NON_NULL)
          @Nullable List<Integer> tokenIds,
      @Schema(description = CompletionResponse.ROUTED_EXPERTS)
          @JsonProperty("routed_experts")
          @JsonInclude(JsonInclude.Include.NON_NULL)
          @Nullable String routedExperts) {}

  /** What the model says. */
  @JsonInclude(JsonInclude.Include.ALWAYS)
  @JsonPropertyOrder({"role", "content", "refusal"})
  @Schema(name = "ChatReply")
  record Reply(
      @Schema(allowableValues = ASSISTANT) String role,
      String content,
      @Schema(description = "Always null.") @Nullable String refusal) {
    Reply(String content) {
      this(ASSISTANT, content, null);
    }
  }

  /** One event of a stream, without usage. */
  @JsonPropertyOrder({"id", "object", "created", "model", "choices", "prompt_token_ids"})
  record Chunk(
      String id,
      String object,
      long created,
      String model,
      List<ChunkChoice> choices,
      @JsonProperty("prompt_token_ids") @JsonInclude(JsonInclude.Include.NON_NULL)
          int @Nullable [] promptTokenIds) {
    static final String OBJECT = "chat.completion.chunk";

    Chunk(Completion completion, List<ChunkChoice> choices, int @Nullable [] promptTokenIds) {
      this(
          completion.id(),
          OBJECT,
          completion.created(),
          completion.model(),
          choices,
          promptTokenIds);
    }
  }

  /**
   * What an event adds to one answer.
   *
   * @param finishReason null until the last event of a choice
   */
  @JsonInclude(JsonInclude.Include.ALWAYS)
  @JsonPropertyOrder({"index", "delta", "logprobs", "finish_reason", "token_ids", "routed_experts"})
  record ChunkChoice(
      int index,
      Delta delta,
      @Nullable Logprobs logprobs,
      @JsonProperty("finish_reason") @Nullable String finishReason,
      @JsonProperty("token_ids") @JsonInclude(JsonInclude.Include.NON_NULL)
          @Nullable List<Integer> tokenIds,
      @JsonProperty("routed_experts") @JsonInclude(JsonInclude.Include.NON_NULL)
          @Nullable String routedExperts) {}

  /** The role in a choice's first event, then text, then nothing in its last. */
  @JsonInclude(JsonInclude.Include.NON_NULL)
  @JsonPropertyOrder({"role", "content"})
  record Delta(@Nullable String role, @Nullable String content) {}

  /** Log-probabilities, one entry per token. */
  @JsonInclude(JsonInclude.Include.ALWAYS)
  @JsonPropertyOrder({"content", "refusal"})
  @Schema(name = "ChatLogprobs")
  record Logprobs(
      List<TokenEntry> content,
      @Schema(description = "Always null.") @Nullable List<TokenEntry> refusal) {}

  /**
   * A token of the answer.
   *
   * @param token its text; {@code bytes:\xNN} for a byte that is no whole character
   * @param bytes its text in UTF-8
   * @param topLogprobs the likeliest tokens at its place
   */
  @JsonInclude(JsonInclude.Include.ALWAYS)
  @JsonPropertyOrder({"token", "logprob", "bytes", "top_logprobs"})
  @Schema(name = "ChatTokenLogprob")
  record TokenEntry(
      String token,
      float logprob,
      int @Nullable [] bytes,
      @JsonProperty("top_logprobs") List<TopEntry> topLogprobs) {}

  /** A token that might have stood at this place. */
  @JsonInclude(JsonInclude.Include.ALWAYS)
  @JsonPropertyOrder({"token", "logprob", "bytes"})
  @Schema(name = "ChatTopLogprob")
  record TopEntry(String token, float logprob, int @Nullable [] bytes) {}
}
