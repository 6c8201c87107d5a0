package dev.gregale.web;

import com.fasterxml.jackson.annotation.JsonIgnoreProperties;
import com.fasterxml.jackson.annotation.JsonProperty;
import io.swagger.v3.oas.annotations.media.Schema;
import org.jspecify.annotations.Nullable;
import tools.jackson.databind.JsonNode;

/** What the answer's text must be. */
@JsonIgnoreProperties(ignoreUnknown = true)
@Schema(
    description =
        "Makes the answer JSON: any object, or of a schema. Where max_tokens cuts it off, it is the"
            + " beginning of that JSON and finish_reason is length. Does not go with min_tokens,"
            + " ignore_eos, no_repeat_ngram_size or use_beam_search.")
record ResponseFormat(
    @Schema(
            allowableValues = {"text", "json_object", "json_schema"},
            requiredMode = Schema.RequiredMode.REQUIRED)
        @JsonProperty("type")
        @Nullable String type,
    @JsonProperty("json_schema") @Nullable JsonSchemaFormat jsonSchema) {

  /** A schema and what it is called. */
  @JsonIgnoreProperties(ignoreUnknown = true)
  @Schema(name = "JsonSchemaFormat", description = "With type json_schema.")
  record JsonSchemaFormat(
      @Schema(description = "Accepted and not used.") @JsonProperty("name") @Nullable String name,
      @Schema(description = "Accepted and not used.") @JsonProperty("description")
          @Nullable String description,
      @Schema(
              implementation = Object.class,
              description =
                  "A JSON schema of at most 64 Ki characters with the keywords type, properties,"
                      + " required, additionalProperties, items, minItems, maxItems, enum, const,"
                      + " anyOf, allOf (of one), $ref (within the schema), minLength, maxLength;"
                      + " others are refused with 400, unless they are annotations. Objects have"
                      + " their properties in this order, and others only with"
                      + " additionalProperties.",
              requiredMode = Schema.RequiredMode.REQUIRED)
          @JsonProperty("schema")
          @Nullable JsonNode schema,
      @Schema(description = "Accepted and not used: the schema is always kept to.")
          @JsonProperty("strict")
          @Nullable Boolean strict) {}
}
