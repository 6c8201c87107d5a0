package dev.gregale.web;

import com.fasterxml.jackson.annotation.JsonFormat;
import com.fasterxml.jackson.annotation.JsonIgnoreProperties;
import com.fasterxml.jackson.annotation.JsonProperty;
import io.swagger.v3.oas.annotations.media.Schema;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * The body of {@code POST /v1/completions}: OpenAI's fields, then vLLM's. Null where a field is
 * absent or null; types are checked, ranges are not yet. Fields of other names are ignored.
 */
@JsonIgnoreProperties(ignoreUnknown = true)
@Schema(description = "OpenAI's fields, then vLLM's. A field may be null; others are ignored.")
record CompletionRequest(
    @Schema(description = "One of /v1/models.", requiredMode = Schema.RequiredMode.REQUIRED)
        @JsonProperty("model")
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
                    + " Default: n.",
            minimum = "1",
            maximum = "20")
        @JsonProperty("best_of")
        @Nullable Integer bestOf,
    @Schema(description = "Return the prompt in front of the completion.", defaultValue = "false")
        @JsonProperty("echo")
        @Nullable Boolean echo,
    @Schema(
            description = "Lowers a token's logit by this for each time it was generated.",
            minimum = "-2",
            maximum = "2",
            defaultValue = "0")
        @JsonProperty("frequency_penalty")
        @Nullable Double frequencyPenalty,
    @Schema(description = "Added to the logits: token id (as a string) to a bias in [-100, 100].")
        @JsonProperty("logit_bias")
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
    @Schema(
            description = "Completions of each prompt.",
            minimum = "1",
            maximum = "128",
            defaultValue = "1")
        @JsonProperty("n")
        @Nullable Integer n,
    @Schema(
            description = "Lowers the logit of each token that was generated before by this.",
            minimum = "-2",
            maximum = "2",
            defaultValue = "0")
        @JsonProperty("presence_penalty")
        @Nullable Double presencePenalty,
    @Schema(description = "Makes sampling repeatable.") @JsonProperty("seed") @Nullable Long seed,
    @Schema(description = "Up to 4 strings that end the text.")
        @JsonProperty("stop")
        @JsonFormat(with = JsonFormat.Feature.ACCEPT_SINGLE_VALUE_AS_ARRAY)
        @Nullable List<@Nullable String> stop,
    @Schema(description = "Answer with server-sent events.", defaultValue = "false")
        @JsonProperty("stream")
        @Nullable Boolean stream,
    @JsonProperty("stream_options") @Nullable StreamOptions streamOptions,
    @Schema(description = "Not supported: refused with 400 unless null.") @JsonProperty("suffix")
        @Nullable String suffix,
    @Schema(
            description = "0 takes the likeliest token.",
            minimum = "0",
            maximum = "2",
            defaultValue = "1")
        @JsonProperty("temperature")
        @Nullable Double temperature,
    @Schema(
            description = "Draws from the likeliest tokens that hold this much probability.",
            minimum = "0",
            maximum = "1",
            defaultValue = "1")
        @JsonProperty("top_p")
        @Nullable Double topP,
    @Schema(description = "Accepted and not used.") @JsonProperty("user") @Nullable String user,
    @Schema(
            description = "Draws from this many of the likeliest tokens; 0 or -1 for all.",
            minimum = "-1",
            defaultValue = "0")
        @JsonProperty("top_k")
        @Nullable Integer topK,
    @Schema(
            description = "Drops tokens less likely than this share of the likeliest one.",
            minimum = "0",
            maximum = "1",
            defaultValue = "0")
        @JsonProperty("min_p")
        @Nullable Double minP,
    @Schema(
            description = "Divides (or multiplies, if negative) the logits of tokens seen before.",
            minimum = "0.01",
            maximum = "100",
            defaultValue = "1")
        @JsonProperty("repetition_penalty")
        @Nullable Double repetitionPenalty,
    @Schema(
            description =
                "No n-gram of this length recurs in prompt and output; 0 for no such ban.",
            minimum = "0",
            maximum = "64",
            defaultValue = "0")
        @JsonProperty("no_repeat_ngram_size")
        @Nullable Integer noRepeatNgramSize,
    @Schema(
            description = "No stop token is drawn before this many; at most max_tokens.",
            minimum = "0",
            defaultValue = "0")
        @JsonProperty("min_tokens")
        @Nullable Integer minTokens,
    @Schema(description = "Go on past the model's end of sequence.", defaultValue = "false")
        @JsonProperty("ignore_eos")
        @Nullable Boolean ignoreEos,
    @Schema(description = "Up to 128 token ids that end the text.") @JsonProperty("stop_token_ids")
        @Nullable List<@Nullable Integer> stopTokenIds,
    @Schema(description = "Keep the stop string that matched in the text.", defaultValue = "false")
        @JsonProperty("include_stop_str_in_output")
        @Nullable Boolean includeStopStrInOutput,
    @Schema(description = "Leave special tokens out of the text.", defaultValue = "true")
        @JsonProperty("skip_special_tokens")
        @Nullable Boolean skipSpecialTokens) {

  /** What a stream holds beside the text. */
  @JsonIgnoreProperties(ignoreUnknown = true)
  @Schema(description = "Only with stream.")
  record StreamOptions(
      @Schema(
              description = "Send the usage in one more event before [DONE], null in the others.",
              defaultValue = "false")
          @JsonProperty("include_usage")
          @Nullable Boolean includeUsage,
      @Schema(description = "Accepted; events are never obfuscated.")
          @JsonProperty("include_obfuscation")
          @Nullable Boolean includeObfuscation) {}
}
