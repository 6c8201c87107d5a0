package dev.gregale.web;

import com.fasterxml.jackson.annotation.JsonAnySetter;
import com.fasterxml.jackson.annotation.JsonProperty;
import io.swagger.v3.oas.annotations.media.Schema;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import tools.jackson.databind.JsonNode;

/** The body of {@code POST /v1/completions}. */
@Schema(description = "OpenAI's fields, then vLLM's. A field may be null; others are ignored.")
record CompletionRequest(
    @Nullable String model,
    @Schema(
            implementation = Object.class,
            description =
                "What to continue. Token ids are taken as they are; texts get the model's beginning"
                    + " of sequence in front. Default: that token alone.")
        @JsonProperty("prompt")
        @Nullable PromptInput prompt,
    @Schema(
            description =
                "Sequences to generate for each prompt, of which the n with the highest mean"
                    + " log-probability are returned. At least n; cannot be streamed if above n."
                    + " With use_beam_search, the number of beams. Default: n.",
            minimum = "1",
            maximum = "20")
        @JsonProperty("best_of")
        @Nullable Integer bestOf,
    @Schema(description = "Return the prompt in front of the completion.", defaultValue = "false")
        @JsonProperty("echo")
        @Nullable Boolean echo,
    @Nullable Double frequencyPenalty,
    @Nullable Map<String, @Nullable Double> logitBias,
    @Schema(
            description =
                "How many of the likeliest tokens to report at each place, beside the token itself."
                    + " With echo, for the prompt too.",
            minimum = "0",
            maximum = "5")
        @JsonProperty("logprobs")
        @Nullable Integer logprobs,
    @Schema(
            description =
                "Tokens to generate at most. 0 generates none: with echo and logprobs it scores"
                    + " the prompt.",
            minimum = "0",
            defaultValue = "16")
        @JsonProperty("max_tokens")
        @Nullable Integer maxTokens,
    @Nullable Integer n,
    @Nullable Double presencePenalty,
    @Nullable Long seed,
    @Nullable List<@Nullable String> stop,
    @Nullable Boolean stream,
    @Nullable StreamOptions streamOptions,
    @Schema(description = "Not supported: refused with 400 unless null.") @JsonProperty("suffix")
        @Nullable String suffix,
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
