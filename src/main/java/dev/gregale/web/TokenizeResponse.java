package dev.gregale.web;

import com.fasterxml.jackson.annotation.JsonInclude;
import com.fasterxml.jackson.annotation.JsonProperty;
import com.fasterxml.jackson.annotation.JsonPropertyOrder;
import io.swagger.v3.oas.annotations.media.Schema;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * A text as the model sees it.
 *
 * @param count of the tokens
 * @param maxModelLen tokens that prompt and completion may have together
 * @param tokens ids
 * @param tokenStrs the vocabulary's strings; null if they were not asked for
 */
@JsonInclude(JsonInclude.Include.ALWAYS)
@JsonPropertyOrder({"count", "max_model_len", "tokens", "token_strs"})
record TokenizeResponse(
    int count,
    @JsonProperty("max_model_len") int maxModelLen,
    int[] tokens,
    @Schema(description = "With return_token_strs.") @JsonProperty("token_strs")
        @Nullable List<String> tokenStrs) {}
