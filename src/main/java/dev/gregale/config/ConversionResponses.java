package dev.gregale.config;

import io.swagger.v3.oas.models.Components;
import io.swagger.v3.oas.models.examples.Example;
import io.swagger.v3.oas.models.media.Content;
import io.swagger.v3.oas.models.media.IntegerSchema;
import io.swagger.v3.oas.models.media.MediaType;
import io.swagger.v3.oas.models.media.ObjectSchema;
import io.swagger.v3.oas.models.media.Schema;
import io.swagger.v3.oas.models.media.StringSchema;
import io.swagger.v3.oas.models.responses.ApiResponse;
import java.util.LinkedHashMap;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import org.springframework.http.HttpStatus;

/** The errors of conversion, as the OpenAPI document shows them. */
final class ConversionResponses {
  private ConversionResponses() {}

  static void addTo(Components components) {
    components
        .addSchemas(
            "ProblemDetail",
            new ObjectSchema()
                .description("RFC 9457")
                .addProperty("title", new StringSchema())
                .addProperty("status", new IntegerSchema())
                .addProperty("detail", new StringSchema())
                .addProperty("param", new StringSchema().description("The field it is about."))
                .addProperty("code", new StringSchema())
                .addProperty("requestId", new StringSchema()))
        .addResponses(
            "ConversionInvalid",
            problem(
                HttpStatus.BAD_REQUEST,
                "The request cannot be served as it stands; `param` names the field.",
                "quantize must be one of [fp8, fp8-block, mxfp8], but is 'int4'",
                "quantize",
                null))
        .addResponses(
            "ConversionForbidden",
            problem(
                HttpStatus.FORBIDDEN,
                "Conversion is off, or a name leads out of gregale.convert.roots.",
                "Conversion over HTTP is off; set gregale.convert.roots to the directories that"
                    + " sources and targets may lie in",
                null,
                "conversion_off"))
        .addResponses(
            "NoSuchConversion",
            problem(
                HttpStatus.NOT_FOUND,
                "There is no such job, or no such directory.",
                "There is no directory for 'Mixtral' under gregale.convert.roots",
                null,
                "no_such_directory"))
        .addResponses(
            "TargetTaken",
            problem(
                HttpStatus.CONFLICT,
                "The target exists, or another job makes it.",
                "/models/Mixtral-te: exists; remove it, or ask to overwrite it",
                null,
                "target_exists"))
        .addResponses(
            "IdempotencyKeyReused",
            problem(
                HttpStatus.UNPROCESSABLE_CONTENT,
                "The idempotency key was used for another request.",
                "The idempotency key 'te-1' was used for another request; choose a new one",
                null,
                "idempotency_key_reused"))
        .addResponses(
            "TooManyConversions",
            problem(
                HttpStatus.TOO_MANY_REQUESTS,
                "As many jobs wait as may (gregale.convert.max-queued).",
                "8 conversions wait already; wait for one to end, or cancel one",
                null,
                "too_many_conversions"));
  }

  private static ApiResponse problem(
      HttpStatus status,
      String description,
      String detail,
      @Nullable String param,
      @Nullable String code) {
    Map<String, Object> problem = new LinkedHashMap<>();
    problem.put("title", status.getReasonPhrase());
    problem.put("status", status.value());
    problem.put("detail", detail);
    if (param != null) {
      problem.put("param", param);
    }
    if (code != null) {
      problem.put("code", code);
    }
    problem.put("requestId", "req-1f0c");
    return new ApiResponse()
        .description(description)
        .content(
            new Content()
                .addMediaType(
                    "application/problem+json",
                    new MediaType()
                        .schema(new Schema<>().$ref("#/components/schemas/ProblemDetail"))
                        .addExamples("problem", new Example().value(problem))));
  }
}
