package dev.gregale.openai;

import com.networknt.schema.Schema;
import com.networknt.schema.SchemaLocation;
import com.networknt.schema.SchemaRegistry;
import com.networknt.schema.SpecificationVersion;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import tools.jackson.core.JacksonException;
import tools.jackson.core.StreamReadFeature;
import tools.jackson.databind.DeserializationFeature;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/**
 * OpenAI's response contract with the additions of vLLM that the README names, as JSON schemas in
 * {@code src/test/resources/openai}. Strict: an unknown key is a violation.
 */
public final class OpenAiSchemas {
  private static final SchemaRegistry REGISTRY =
      SchemaRegistry.withDefaultDialect(SpecificationVersion.DRAFT_2020_12);
  private static final Map<String, Schema> SCHEMAS = new ConcurrentHashMap<>();
  private static final JsonMapper STRICT =
      JsonMapper.builder()
          .enable(StreamReadFeature.STRICT_DUPLICATE_DETECTION)
          .enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS)
          .build();

  private OpenAiSchemas() {}

  /**
   * What is wrong with a document; empty if nothing.
   *
   * @param schema its file's name without extension
   */
  public static List<String> violations(String schema, String json) {
    JsonNode document;
    try {
      document = STRICT.readTree(json);
    } catch (JacksonException e) {
      return List.of("is no JSON document: " + e.getOriginalMessage());
    }
    return SCHEMAS.computeIfAbsent(schema, OpenAiSchemas::load).validate(document).stream()
        .map(error -> "is no " + schema + ": " + error)
        .toList();
  }

  private static Schema load(String name) {
    return REGISTRY.getSchema(SchemaLocation.of("classpath:openai/" + name + ".json"));
  }
}
