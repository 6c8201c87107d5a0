package dev.gregale.web;

import static dev.gregale.web.Ranges.check;
import static dev.gregale.web.Ranges.required;

import dev.gregale.sampling.TokenConstraint;
import dev.gregale.structured.SchemaException;
import dev.gregale.structured.StructuredOutputs;
import dev.gregale.web.ResponseFormat.JsonSchemaFormat;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;
import org.springframework.stereotype.Component;
import tools.jackson.databind.JsonNode;

/** Makes of a response_format what the engine keeps to; refuses it with a 400. */
@Component
final class ResponseFormats {
  private static final String FIELD = "response_format";

  private final @Nullable StructuredOutputs outputs;

  ResponseFormats(@Nullable StructuredOutputs outputs) {
    this.outputs = outputs;
  }

  /** What the text must be; null for anything. */
  @Nullable TokenConstraint constraint(@Nullable ResponseFormat format) {
    if (format == null || "text".equals(format.type())) {
      return null;
    }
    StructuredOutputs available =
        required(outputs, FIELD, FIELD + " needs a tokenizer, which this checkpoint lacks");
    return switch (format.type()) {
      case "json_object" -> made(available::jsonObject);
      case "json_schema" -> {
        JsonNode schema = schema(format.jsonSchema());
        yield made(() -> available.jsonSchema(schema));
      }
      case null, default ->
          throw ApiException.badRequest(
              FIELD,
              FIELD + ".type must be text, json_object or json_schema, but is " + shown(format));
    };
  }

  private static String shown(ResponseFormat format) {
    return format.type() == null ? "missing" : Quoted.of(format.type());
  }

  private static JsonNode schema(@Nullable JsonSchemaFormat format) {
    JsonNode schema = format == null ? null : format.schema();
    String message = FIELD + ".json_schema.schema must be a JSON schema, an object";
    JsonNode given = required(schema, FIELD, message);
    check(given.isObject(), FIELD, message);
    return given;
  }

  private static TokenConstraint made(Supplier<TokenConstraint> outputs) {
    try {
      return outputs.get();
    } catch (SchemaException e) {
      throw ApiException.badRequest(FIELD, FIELD + ": " + e.getMessage());
    }
  }
}
