package dev.gregale.web;

import com.fasterxml.jackson.annotation.JsonIgnoreProperties;
import com.fasterxml.jackson.annotation.JsonProperty;
import io.swagger.v3.oas.annotations.media.Schema;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** The body of {@code POST /detokenize}, vLLM's. */
@JsonIgnoreProperties(ignoreUnknown = true)
record DetokenizeRequest(
    @Schema(description = "One of /v1/models; may be left out.") @JsonProperty("model")
        @Nullable String model,
    @Schema(description = "Token ids.", requiredMode = Schema.RequiredMode.REQUIRED)
        @JsonProperty("tokens")
        @Nullable List<@Nullable Integer> tokens) {}
