package dev.gregale.web;

import com.fasterxml.jackson.annotation.JsonAnySetter;
import com.fasterxml.jackson.annotation.JsonProperty;
import io.swagger.v3.oas.annotations.media.Schema;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import tools.jackson.databind.JsonNode;

/** The body of {@code POST /v1/chat/completions}. */
@Schema(
    description =
        "OpenAI's fields, then vLLM's. A field may be null. Fields that would change the answer but"
            + " are not served (tools, audio, ...) are refused with 400; others are"
            + " ignored.")
record ChatRequest(
    @Schema(
            description =
                "The conversation, as the checkpoint's chat template takes it: most want a user's"
                    + " and the assistant's turns one after the other.",
            requiredMode = Schema.RequiredMode.REQUIRED)
        @JsonProperty("messages")
        @Nullable List<@Nullable Message> messages,
    @Schema(description = "Report the log-probability of each token.", defaultValue = "false")
        @JsonProperty("logprobs")
        @Nullable Boolean logprobs,
    @Schema(
            description =
                "How many of the likeliest tokens to report at each place. With logprobs.",
            minimum = "0",
            maximum = "20",
            defaultValue = "0")
        @JsonProperty("top_logprobs")
        @Nullable Integer topLogprobs,
    @Schema(description = "The older name of max_completion_tokens.", minimum = "0")
        @JsonProperty("max_tokens")
        @Nullable Integer maxTokens,
    @Schema(
            description =
                "Tokens to generate at most. Default: as many as the context has room for.",
            minimum = "0")
        @JsonProperty("max_completion_tokens")
        @Nullable Integer maxCompletionTokens,
    @Nullable String model,
    @Nullable Double frequencyPenalty,
    @Nullable Map<String, @Nullable Double> logitBias,
    @Nullable Integer n,
    @Nullable Double presencePenalty,
    @Nullable Long seed,
    @Nullable List<@Nullable String> stop,
    @Nullable Boolean stream,
    @Nullable StreamOptions streamOptions,
    @Nullable Double temperature,
    @Nullable Double topP,
    @Nullable String user,
    @Nullable Integer topK,
    @Nullable Double minP,
    @Nullable Double repetitionPenalty,
    @Nullable Integer noRepeatNgramSize,
    @Nullable Integer minTokens,
    @Nullable Boolean ignoreEos,
    @Nullable List<@Nullable Integer> stopTokenIds,
    @Nullable Boolean includeStopStrInOutput,
    @Nullable Boolean skipSpecialTokens,
    @Schema(
            description = "End the prompt with the start of the assistant's turn.",
            defaultValue = "true")
        @JsonProperty("add_generation_prompt")
        @Nullable Boolean addGenerationPrompt,
    @Nullable Boolean addSpecialTokens,
    @Nullable Integer promptLogprobs,
    @Nullable Boolean returnTokenIds,
    @Nullable Boolean returnRoutedExperts,
    @Nullable Integer truncatePromptTokens,
    @Nullable Integer priority,
    @Nullable Boolean useBeamSearch,
    @Nullable Double lengthPenalty,
    @Nullable ResponseFormat responseFormat,
    @Schema(hidden = true) @JsonAnySetter Map<String, JsonNode> others)
    implements GenerationFields {}
