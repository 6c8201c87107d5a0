package dev.gregale.web;

import java.util.Collection;
import java.util.Objects;
import org.springframework.stereotype.Component;
import tools.jackson.core.JacksonException;
import tools.jackson.core.JsonParser;
import tools.jackson.core.TokenStreamLocation;
import tools.jackson.core.exc.InputCoercionException;
import tools.jackson.core.exc.StreamConstraintsException;
import tools.jackson.databind.DeserializationFeature;
import tools.jackson.databind.MapperFeature;
import tools.jackson.databind.cfg.CoercionAction;
import tools.jackson.databind.cfg.CoercionInputShape;
import tools.jackson.databind.exc.MismatchedInputException;
import tools.jackson.databind.json.JsonMapper;
import tools.jackson.databind.type.LogicalType;

/** JSON to the records of requests, with no value taken for one of another type. */
@Component
final class RequestParser {
  private final JsonMapper mapper;

  RequestParser(JsonMapper mapper) {
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
  <T> T parse(byte[] body, Class<T> type) {
    try (JsonParser json = mapper.createParser(body)) {
      try {
        T request = mapper.readValue(json, type);
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
    TokenStreamLocation at = Objects.requireNonNullElse(e.getLocation(), json.currentLocation());
    String where = " at line " + at.getLineNr() + ", column " + at.getColumnNr();
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
        wanted == PromptInput.class ? e.getOriginalMessage() : "must be " + nameOf(wanted);
    return ApiException.badRequest(field, pathOf(e) + " " + problem + ", but is " + valueAt(json));
  }

  private static String nameOf(Class<?> type) {
    if (type == Integer.class || type == int.class) {
      return "an integer of 32 bits";
    } else if (type == Long.class || type == long.class) {
      return "an integer of 64 bits";
    } else if (type == Double.class) {
      return "a number";
    } else if (type == Boolean.class) {
      return "true or false";
    } else if (type == String.class) {
      return "a string";
    } else if (type == Message.Part.class) {
      return "a string or a text part";
    }
    return Collection.class.isAssignableFrom(type) ? "an array" : "an object";
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
      case END_OBJECT, PROPERTY_NAME -> "none";
      case null -> "none";
      default -> Quoted.cut(json.getString());
    };
  }
}
