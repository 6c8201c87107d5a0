package dev.gregale.web;

import com.fasterxml.jackson.annotation.JsonFormat;
import com.fasterxml.jackson.annotation.JsonProperty;
import io.swagger.v3.oas.annotations.media.Schema;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import tools.jackson.databind.JsonNode;

/**
 * What requests for text and for chat have in common: OpenAI's fields, then vLLM's. Null where a
 * field is absent or null; types are checked, ranges are not yet.
 */
interface GenerationFields {
  @Schema(description = "One of /v1/models.", requiredMode = Schema.RequiredMode.REQUIRED)
  @JsonProperty("model")
  @Nullable String model();

  @Schema(
      description = "Lowers a token's logit by this for each time it was generated.",
      minimum = "-2",
      maximum = "2",
      defaultValue = "0")
  @JsonProperty("frequency_penalty")
  @Nullable Double frequencyPenalty();

  @Schema(description = "Added to the logits: token id (as a string) to a bias in [-100, 100].")
  @JsonProperty("logit_bias")
  @Nullable Map<String, @Nullable Double> logitBias();

  @Schema(
      description = "Completions of each prompt.",
      minimum = "1",
      maximum = "128",
      defaultValue = "1")
  @JsonProperty("n")
  @Nullable Integer n();

  @Schema(
      description = "Lowers the logit of each token that was generated before by this.",
      minimum = "-2",
      maximum = "2",
      defaultValue = "0")
  @JsonProperty("presence_penalty")
  @Nullable Double presencePenalty();

  @Schema(description = "Makes sampling repeatable.")
  @JsonProperty("seed")
  @Nullable Long seed();

  @Schema(description = "Up to 4 strings that end the text.")
  @JsonProperty("stop")
  @JsonFormat(with = JsonFormat.Feature.ACCEPT_SINGLE_VALUE_AS_ARRAY)
  @Nullable List<@Nullable String> stop();

  @Schema(description = "Answer with server-sent events.", defaultValue = "false")
  @JsonProperty("stream")
  @Nullable Boolean stream();

  @JsonProperty("stream_options")
  @Nullable StreamOptions streamOptions();

  @Schema(
      description = "0 takes the likeliest token.",
      minimum = "0",
      maximum = "2",
      defaultValue = "1")
  @JsonProperty("temperature")
  @Nullable Double temperature();

  @Schema(
      description = "Draws from the likeliest tokens that hold this much probability.",
      minimum = "0",
      maximum = "1",
      defaultValue = "1")
  @JsonProperty("top_p")
  @Nullable Double topP();

  @Schema(description = "Accepted and not used.")
  @JsonProperty("user")
  @Nullable String user();

  @Schema(
      description = "Draws from this many of the likeliest tokens; 0 or -1 for all.",
      minimum = "-1",
      defaultValue = "0")
  @JsonProperty("top_k")
  @Nullable Integer topK();

  @Schema(
      description = "Drops tokens less likely than this share of the likeliest one.",
      minimum = "0",
      maximum = "1",
      defaultValue = "0")
  @JsonProperty("min_p")
  @Nullable Double minP();

  @Schema(
      description = "Divides (or multiplies, if negative) the logits of tokens seen before.",
      minimum = "0.01",
      maximum = "100",
      defaultValue = "1")
  @JsonProperty("repetition_penalty")
  @Nullable Double repetitionPenalty();

  @Schema(
      description = "No n-gram of this length recurs in prompt and output; 0 for no such ban.",
      minimum = "0",
      maximum = "64",
      defaultValue = "0")
  @JsonProperty("no_repeat_ngram_size")
  @Nullable Integer noRepeatNgramSize();

  @Schema(
      description = "No stop token is drawn before this many; at most max_tokens.",
      minimum = "0",
      defaultValue = "0")
  @JsonProperty("min_tokens")
  @Nullable Integer minTokens();

  @Schema(description = "Go on past the model's end of sequence.", defaultValue = "false")
  @JsonProperty("ignore_eos")
  @Nullable Boolean ignoreEos();

  @Schema(description = "Up to 128 token ids that end the text.")
  @JsonProperty("stop_token_ids")
  @Nullable List<@Nullable Integer> stopTokenIds();

  @Schema(description = "Keep the stop string that matched in the text.", defaultValue = "false")
  @JsonProperty("include_stop_str_in_output")
  @Nullable Boolean includeStopStrInOutput();

  @Schema(description = "Leave special tokens out of the text.", defaultValue = "true")
  @JsonProperty("skip_special_tokens")
  @Nullable Boolean skipSpecialTokens();

  @Schema(
      description =
          "Put the model's beginning of sequence in front of the text. Default: true for a prompt,"
              + " false for messages, since chat templates do that themselves.")
  @JsonProperty("add_special_tokens")
  @Nullable Boolean addSpecialTokens();

  @Schema(
      description =
          "Report the log-probability of each prompt token, and this many of the likeliest at its"
              + " place (with their ranks, where known). Not with stream.",
      minimum = "0",
      maximum = "20")
  @JsonProperty("prompt_logprobs")
  @Nullable Integer promptLogprobs();

  @Schema(description = "Report the token ids of prompt and answer.", defaultValue = "false")
  @JsonProperty("return_token_ids")
  @Nullable Boolean returnTokenIds();

  @Schema(
      description =
          "Report the experts of every token that the model was fed, those of the prompt too, as"
              + " routed_experts of each choice; a stream's events each hold what is new.",
      defaultValue = "false")
  @JsonProperty("return_routed_experts")
  @Nullable Boolean returnRoutedExperts();

  @Schema(
      description =
          "Keep only this many tokens of the prompt, its last ones; -1 for as many as the context"
              + " holds beside the tokens to generate.",
      minimum = "-1")
  @JsonProperty("truncate_prompt_tokens")
  @Nullable Integer truncatePromptTokens();

  @Schema(
      description =
          "Of the requests that wait, the lowest goes first. Other than 0 only where the server"
              + " serves by priority.",
      defaultValue = "0")
  @JsonProperty("priority")
  @Nullable Integer priority();

  @Schema(
      description =
          "Beam search: as many beams as n, or best_of where given, at most 10. The n sequences with"
              + " the best score are returned, best first. temperature, seed and what cuts the"
              + " distribution have no effect; cannot be streamed. Usage counts what is returned.",
      defaultValue = "false")
  @JsonProperty("use_beam_search")
  @Nullable Boolean useBeamSearch();

  @Schema(
      description =
          "With use_beam_search: a sequence's score is its log-probability divided by its number of"
              + " tokens to this power.",
      minimum = "-10",
      maximum = "10",
      defaultValue = "1")
  @JsonProperty("length_penalty")
  @Nullable Double lengthPenalty();

  @JsonProperty("response_format")
  @Nullable ResponseFormat responseFormat();

  /** Fields of other names. */
  @Schema(hidden = true)
  Map<String, JsonNode> others();
}
