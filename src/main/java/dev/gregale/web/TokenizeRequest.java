package dev.gregale.web;

import com.fasterxml.jackson.annotation.JsonAnySetter;
import com.fasterxml.jackson.annotation.JsonProperty;
import io.swagger.v3.oas.annotations.media.Schema;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import tools.jackson.databind.JsonNode;

/** The body of {@code POST /tokenize}, vLLM's. */
@Schema(description = "Either prompt or messages.")
record TokenizeRequest(
    @Schema(description = "One of /v1/models; may be left out.") @JsonProperty("model")
        @Nullable String model,
    @Schema(description = "A text.") @JsonProperty("prompt") @Nullable String prompt,
    @Schema(description = "A conversation, for the checkpoint's chat template.")
        @JsonProperty("messages")
        @Nullable List<@Nullable Message> messages,
    @Schema(
            description =
                "Put the model's beginning of sequence in front. Default: true for prompt, false for"
                    + " messages.")
        @JsonProperty("add_special_tokens")
        @Nullable Boolean addSpecialTokens,
    @Schema(
            description = "End messages with the start of the assistant's turn.",
            defaultValue = "true")
        @JsonProperty("add_generation_prompt")
        @Nullable Boolean addGenerationPrompt,
    @Schema(description = "Return the vocabulary's strings too.", defaultValue = "false")
        @JsonProperty("return_token_strs")
        @Nullable Boolean returnTokenStrs,
    @Schema(hidden = true) @JsonAnySetter Map<String, JsonNode> others) {}
