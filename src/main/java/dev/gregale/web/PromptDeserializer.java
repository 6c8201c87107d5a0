package dev.gregale.web;

import java.util.ArrayList;
import java.util.List;
import java.util.stream.IntStream;
import tools.jackson.core.JsonParser;
import tools.jackson.core.JsonToken;
import tools.jackson.databind.DeserializationContext;
import tools.jackson.databind.ValueDeserializer;
import tools.jackson.databind.exc.MismatchedInputException;

/** Reads OpenAI's four forms of a prompt: string, string[], int[], int[][]. */
final class PromptDeserializer extends ValueDeserializer<PromptInput> {
  static final String FORMS =
      "a string, an array of strings, an array of token ids or an array of arrays of token ids";

  @Override
  public PromptInput deserialize(JsonParser json, DeserializationContext context) {
    return switch (json.currentToken()) {
      case VALUE_STRING -> new PromptInput.Texts(List.of(json.getString()));
      case START_ARRAY -> array(json);
      default -> throw mismatch(json, "must be " + FORMS);
    };
  }

  private static PromptInput array(JsonParser json) {
    return switch (json.nextToken()) {
      case END_ARRAY -> throw mismatch(json, "must not be an empty array");
      case VALUE_STRING -> new PromptInput.Texts(texts(json));
      case VALUE_NUMBER_INT -> new PromptInput.TokenIds(List.of(ids(json)));
      case START_ARRAY -> new PromptInput.TokenIds(idArrays(json));
      default -> throw mismatch(json, "must be " + FORMS);
    };
  }

  private static List<String> texts(JsonParser json) {
    List<String> texts = new ArrayList<>();
    for (JsonToken t = json.currentToken(); t != JsonToken.END_ARRAY; t = json.nextToken()) {
      require(json, t == JsonToken.VALUE_STRING, "must hold strings only, once it begins with one");
      texts.add(json.getString());
    }
    return texts;
  }

  private static List<int[]> idArrays(JsonParser json) {
    List<int[]> arrays = new ArrayList<>();
    for (JsonToken t = json.currentToken(); t != JsonToken.END_ARRAY; t = json.nextToken()) {
      require(json, t == JsonToken.START_ARRAY, "must hold arrays only, once it begins with one");
      json.nextToken();
      arrays.add(ids(json));
    }
    return arrays;
  }

  /** The ids from the current token to the end of the array; none if it ends here. */
  private static int[] ids(JsonParser json) {
    IntStream.Builder ids = IntStream.builder();
    for (JsonToken t = json.currentToken(); t != JsonToken.END_ARRAY; t = json.nextToken()) {
      require(json, t == JsonToken.VALUE_NUMBER_INT, "must hold integers as token ids");
      ids.add(json.getIntValue());
    }
    return ids.build().toArray();
  }

  private static void require(JsonParser json, boolean condition, String problem) {
    if (!condition) {
      throw mismatch(json, problem);
    }
  }

  private static MismatchedInputException mismatch(JsonParser json, String problem) {
    return MismatchedInputException.from(json, PromptInput.class, problem);
  }
}
