package dev.gregale.structured;

import com.github.benmanes.caffeine.cache.Cache;
import com.github.benmanes.caffeine.cache.Caffeine;
import dev.gregale.sampling.TokenConstraint;
import java.time.Duration;
import java.util.List;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/**
 * Makes constraints for a vocabulary, so that what is drawn under them is JSON of a schema. The
 * last few are kept. Safe for use by several threads; to be called by those that may take some
 * time.
 */
public final class StructuredOutputs {
  private static final int KEPT = 32;
  private static final Duration KEPT_UNUSED = Duration.ofMinutes(30);

  private final Supplier<Vocabulary> vocabulary;
  private final Cache<String, TokenConstraint> known =
      Caffeine.newBuilder().maximumSize(KEPT).expireAfterAccess(KEPT_UNUSED).build();
  private @Nullable TokenTable table;

  /**
   * The tokens of a model.
   *
   * @param bytes of each token where other text precedes it; null for one that is never drawn, such
   *     as a special token
   * @param eosTokenIds the model's end-of-sequence tokens, at least one
   */
  public record Vocabulary(List<byte @Nullable []> bytes, int[] eosTokenIds) {}

  /**
   * @param vocabulary asked for once, when the first constraint is made
   */
  public StructuredOutputs(Supplier<Vocabulary> vocabulary) {
    this.vocabulary = vocabulary;
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
   * @throws SchemaException if the schema or the vocabulary do not allow for it
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
      Vocabulary given = vocabulary.get();
      TokenTable made = new TokenTable(given.bytes(), given.eosTokenIds());
      if (!made.trie().hasAllBytes()) {
        throw new SchemaException(
            "this checkpoint's vocabulary does not have every byte as a token, which structured output needs");
      }
      table = made;
    }
    return table;
  }
}
