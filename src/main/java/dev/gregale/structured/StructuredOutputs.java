package dev.gregale.structured;

import com.github.benmanes.caffeine.cache.Cache;
import com.github.benmanes.caffeine.cache.Caffeine;
import dev.gregale.sampling.TokenConstraint;
import dev.gregale.tokenizer.TokenDecoder;
import dev.gregale.tokenizer.Tokenizer;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/**
 * Makes constraints for a model, so that what is drawn under them is JSON of a schema. The last few
 * are kept. Safe for use by several threads; to be called by those that may take some time.
 */
public final class StructuredOutputs {
  private static final int KEPT = 16;
  private static final Duration KEPT_UNUSED = Duration.ofMinutes(30);

  private final Tokenizer tokenizer;
  private final int vocabSize;
  private final int[] eosTokenIds;
  private final Cache<String, TokenConstraint> known =
      Caffeine.newBuilder().maximumSize(KEPT).expireAfterAccess(KEPT_UNUSED).build();
  private @Nullable TokenTable table;

  /**
   * Of a tokenizer whose tokens are looked at when the first constraint is made.
   *
   * @param vocabSize the model's, which may be larger than the tokenizer's
   * @param eosTokenIds the model's end-of-sequence tokens
   */
  public StructuredOutputs(Tokenizer tokenizer, int vocabSize, int[] eosTokenIds) {
    this.tokenizer = tokenizer;
    this.vocabSize = vocabSize;
    this.eosTokenIds = eosTokenIds.clone();
  }

  /**
   * Any JSON object.
   *
   * @throws SchemaException if the vocabulary does not allow for it
   */
  public TokenConstraint jsonObject() {
    return jsonSchema(JsonMapper.shared().createObjectNode().put("type", "object"));
  }

  /**
   * JSON of a schema.
   *
   * @throws SchemaException if the schema or the vocabulary does not allow for it
   */
  public TokenConstraint jsonSchema(JsonNode schema) {
    String text = schema.toString();
    if (text.length() > Limits.SCHEMA_CHARS) {
      throw SchemaException.at(
          "", "has %d characters, more than %d".formatted(text.length(), Limits.SCHEMA_CHARS));
    }
    TokenConstraint constraint = known.getIfPresent(text);
    if (constraint == null) {
      constraint = new Automaton(SchemaCompiler.compile(schema), table());
      known.put(text, constraint);
    }
    return constraint;
  }

  private synchronized TokenTable table() {
    if (table == null) {
      TokenTable made = new TokenTable(tokenBytes(), eosTokenIds);
      if (eosTokenIds.length == 0 || !made.trie().hasAllBytes()) {
        throw new SchemaException(
            "structured output needs an end-of-sequence token and every byte as a token, which this"
                + " checkpoint does not have");
      }
      table = made;
    }
    return table;
  }

  private List<byte @Nullable []> tokenBytes() {
    TokenDecoder decoder = new TokenDecoder(tokenizer);
    List<byte @Nullable []> bytes = new ArrayList<>(vocabSize);
    for (int id = 0; id < vocabSize; id++) {
      bytes.add(decoder.bytes(id));
    }
    return bytes;
  }
}
