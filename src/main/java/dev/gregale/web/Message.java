package dev.gregale.web;

import com.fasterxml.jackson.annotation.JsonAnySetter;
import com.fasterxml.jackson.annotation.JsonCreator;
import com.fasterxml.jackson.annotation.JsonFormat;
import com.fasterxml.jackson.annotation.JsonIgnoreProperties;
import com.fasterxml.jackson.annotation.JsonProperty;
import io.swagger.v3.oas.annotations.media.Schema;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import tools.jackson.databind.JsonNode;

/**
 * One turn of a conversation as it was given.
 *
 * @param others fields of other names
 */
@Schema(name = "ChatMessage", description = "One turn of the conversation.")
record Message(
    @Schema(
            allowableValues = {"system", "user", "assistant"},
            requiredMode = Schema.RequiredMode.REQUIRED)
        @JsonProperty("role")
        @Nullable String role,
    @Schema(
            implementation = Object.class,
            description = "Its text; parts are joined with line feeds.",
            requiredMode = Schema.RequiredMode.REQUIRED)
        @JsonProperty("content")
        @JsonFormat(with = JsonFormat.Feature.ACCEPT_SINGLE_VALUE_AS_ARRAY)
        @Nullable List<@Nullable Part> content,
    @Schema(hidden = true) @JsonAnySetter Map<String, JsonNode> others) {

  /** A piece of a turn; a plain string is taken for one. */
  @JsonIgnoreProperties(ignoreUnknown = true)
  record Part(
      @JsonProperty("type") @Nullable String type, @JsonProperty("text") @Nullable String text) {
    static final String TEXT = "text";

    @JsonCreator
    Part {}

    @JsonCreator(mode = JsonCreator.Mode.DELEGATING)
    static Part ofText(String text) {
      return new Part(TEXT, text);
    }
  }
}
