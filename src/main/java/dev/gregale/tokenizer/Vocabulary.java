package dev.gregale.tokenizer;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.OptionalInt;
import org.jspecify.annotations.Nullable;
import tools.jackson.databind.JsonNode;

/** The strings of {@code tokenizer.json} by id and back: what the native tokenizer cannot tell. */
final class Vocabulary {

  /** The largest published vocabularies have under 300,000 entries. */
  private static final int MAX_SIZE = 1 << 24;

  private final List<@Nullable String> tokens;
  private final Map<String, Integer> ids;

  private Vocabulary(List<@Nullable String> tokens) {
    this.tokens = tokens;
    this.ids = HashMap.newHashMap(tokens.size());
    for (int id = 0; id < tokens.size(); id++) {
      String token = tokens.get(id);
      if (token != null) {
        ids.put(token, id);
      }
    }
  }

  /** Reads model and added tokens; an added token wins over the model's at the same id. */
  static Vocabulary read(Path tokenizerJson) {
    JsonNode root = TokenizerFiles.readObject(tokenizerJson);
    JsonNode vocab = root.path("model").path("vocab");
    List<@Nullable String> tokens = new ArrayList<>();
    if (vocab.isObject()) {
      vocab.properties().forEach(e -> put(tokenizerJson, tokens, e.getValue(), e.getKey()));
    } else if (vocab.isArray()) { // Unigram: [[token, score], ...]
      vocab.forEach(entry -> tokens.add(entry.path(0).stringValue("")));
    } else {
      throw TokenizerFiles.unusable(tokenizerJson, "it has no model.vocab", null);
    }
    for (JsonNode added : root.path("added_tokens")) {
      put(tokenizerJson, tokens, added.path("id"), added.path("content").stringValue(""));
    }
    return new Vocabulary(tokens);
  }

  private static void put(Path file, List<@Nullable String> tokens, JsonNode id, String token) {
    int index = id.isInt() ? id.intValue() : -1;
    if (index < 0 || index >= MAX_SIZE) {
      throw TokenizerFiles.unusable(
          file, "token '" + token + "' has the id " + id + ", not one of 0 to " + MAX_SIZE, null);
    }
    if (index >= tokens.size()) {
      tokens.addAll(Collections.nCopies(index + 1 - tokens.size(), null));
    }
    tokens.set(index, token);
  }

  int size() {
    return tokens.size();
  }

  /** The id's string; empty for an id without one. */
  String token(int id) {
    String token = id >= 0 && id < tokens.size() ? tokens.get(id) : null;
    return token == null ? "" : token;
  }

  OptionalInt id(@Nullable String token) {
    Integer id = token == null ? null : ids.get(token);
    return id == null ? OptionalInt.empty() : OptionalInt.of(id);
  }
}
