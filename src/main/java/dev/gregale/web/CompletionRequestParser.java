package dev.gregale.web;

import java.util.List;
import java.util.Map;
import org.springframework.stereotype.Component;
import tools.jackson.core.JacksonException;
import tools.jackson.core.JsonParser;
import tools.jackson.core.exc.InputCoercionException;
import tools.jackson.core.exc.StreamConstraintsException;
import tools.jackson.databind.DeserializationFeature;
import tools.jackson.databind.MapperFeature;
import tools.jackson.databind.cfg.CoercionAction;
import tools.jackson.databind.cfg.CoercionInputShape;
import tools.jackson.databind.exc.MismatchedInputException;
import tools.jackson.databind.json.JsonMapper;
import tools.jackson.databind.type.LogicalType;

/** JSON to {@link CompletionRequest}, with no value taken for one of another type. */
@Component
final class CompletionRequestParser {
  private static final Map<Class<?>, String> TYPES =
      Map.of(
          String.class, "a string",
          Integer.class, "an integer of 32 bits",
          Long.class, "an integer of 64 bits",
          Double.class, "a number",
          Boolean.class, "true or false",
          List.class, "an array",
          Map.class, "an object",
          CompletionRequest.StreamOptions.class, "an object");

  private final JsonMapper mapper;

  CompletionRequestParser(JsonMapper mapper) {
    this.mapper =
        mapper
            .rebuild()
            .disable(MapperFeature.ALLOW_COERCION_OF_SCALARS)
            .disable(DeserializationFeature.ACCEPT_FLOAT_AS_INT)
            .enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS)
            .withCoercionConfig(
                LogicalType.Textual,
                config ->
                    config
                        .setCoercion(CoercionInputShape.Boolean, CoercionAction.Fail)
                        .setCoercion(CoercionInputShape.Integer, CoercionAction.Fail)
                        .setCoercion(CoercionInputShape.Float, CoercionAction.Fail))
            .build();
  }

  /** Parses a body; refuses it with an {@link ApiException} that names the field at fault. */
  CompletionRequest parse(byte[] body) {
    try (JsonParser json = mapper.createParser(body)) {
      try {
        CompletionRequest request = mapper.readValue(json, CompletionRequest.class);
        if (request == null) {
          throw notAnObject();
        }
        return request;
      } catch (JacksonException e) {
        throw refusal(e, json); // while the parser still stands at the value
      }
    }
  }

  private static ApiException refusal(JacksonException e, JsonParser json) {
    String where =
        " at line " + e.getLocation().getLineNr() + ", column " + e.getLocation().getColumnNr();
    return switch (e) {
      case StreamConstraintsException limit ->
          ApiException.badRequest(
              null,
              "The request body is beyond a limit" + where + ": " + limit.getOriginalMessage());
      case MismatchedInputException mismatch when mismatch.getPath().isEmpty() -> notAnObject();
      case MismatchedInputException mismatch -> wrongType(mismatch, mismatch.getTargetType(), json);
      case InputCoercionException overflow when !overflow.getPath().isEmpty() ->
          wrongType(overflow, overflow.getTargetType(), json);
      default -> ApiException.badRequest(null, "The request body is not valid JSON" + where);
    };
  }

  private static ApiException notAnObject() {
    return ApiException.badRequest(null, "The request body must be one JSON object");
  }

  private static ApiException wrongType(JacksonException e, Class<?> wanted, JsonParser json) {
    String field = e.getPath().getFirst().getPropertyName();
    String problem =
        wanted == PromptInput.class
            ? e.getOriginalMessage()
            : "must be " + TYPES.getOrDefault(boxed(wanted), "of another type");
    return ApiException.badRequest(field, pathOf(e) + " " + problem + ", but is " + valueAt(json));
  }

  private static Class<?> boxed(Class<?> type) {
    return type == int.class ? Integer.class : type == long.class ? Long.class : type;
  }

  /** As in {@code stop[1]} or {@code stream_options.include_usage}. */
  private static String pathOf(JacksonException e) {
    StringBuilder path = new StringBuilder();
    for (JacksonException.Reference step : e.getPath()) {
      if (step.getPropertyName() == null) {
        path.append('[').append(step.getIndex()).append(']');
      } else {
        path.append(path.isEmpty() ? "" : ".").append(Quoted.cut(step.getPropertyName()));
      }
    }
    return path.toString();
  }

  private static String valueAt(JsonParser json) {
    return switch (json.currentToken()) {
      case START_ARRAY -> "an array";
      case END_ARRAY -> "empty";
      case START_OBJECT -> "an object";
      case VALUE_STRING -> "the string " + Quoted.of(json.getString());
      case null, END_OBJECT, PROPERTY_NAME -> "none";
      default -> Quoted.cut(json.getString());
    };
  }
}
