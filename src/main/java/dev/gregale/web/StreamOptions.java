package dev.gregale.web;

import com.fasterxml.jackson.annotation.JsonIgnoreProperties;
import com.fasterxml.jackson.annotation.JsonProperty;
import io.swagger.v3.oas.annotations.media.Schema;
import org.jspecify.annotations.Nullable;

/** What a stream holds beside the text. */
@JsonIgnoreProperties(ignoreUnknown = true)
@Schema(description = "Only with stream.")
record StreamOptions(
    @Schema(
            description = "Send the usage in one more event before [DONE], null in the others.",
            defaultValue = "false")
        @JsonProperty("include_usage")
        @Nullable Boolean includeUsage,
    @Schema(
            description = "With include_usage: send each choice's usage so far in every event.",
            defaultValue = "false")
        @JsonProperty("continuous_usage_stats")
        @Nullable Boolean continuousUsageStats,
    @Schema(description = "Accepted; events are never obfuscated.")
        @JsonProperty("include_obfuscation")
        @Nullable Boolean includeObfuscation) {}
