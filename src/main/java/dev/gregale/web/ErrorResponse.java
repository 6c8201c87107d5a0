package dev.gregale.web;

import com.fasterxml.jackson.annotation.JsonInclude;
import com.fasterxml.jackson.annotation.JsonPropertyOrder;
import io.swagger.v3.oas.annotations.media.Schema;
import org.jspecify.annotations.Nullable;

/** OpenAI's error object. */
@Schema(description = "What went wrong. All four keys are always present.")
record ErrorResponse(@Schema(requiredMode = Schema.RequiredMode.REQUIRED) Detail error) {

  /**
   * What went wrong.
   *
   * @param message for people: what is wrong, where, and what to do
   * @param type for programs: the family of errors
   * @param param the request field at fault, if it is one field
   * @param code for programs: the error, where it has a name
   */
  @JsonInclude(JsonInclude.Include.ALWAYS)
  @JsonPropertyOrder({"message", "type", "param", "code"})
  @Schema(name = "Error")
  record Detail(
      @Schema(requiredMode = Schema.RequiredMode.REQUIRED) String message,
      @Schema(requiredMode = Schema.RequiredMode.REQUIRED) String type,
      @Schema(requiredMode = Schema.RequiredMode.REQUIRED, nullable = true) @Nullable String param,
      @Schema(requiredMode = Schema.RequiredMode.REQUIRED, nullable = true)
          @Nullable String code) {}
}
