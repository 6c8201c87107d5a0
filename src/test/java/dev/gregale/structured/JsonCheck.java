package dev.gregale.structured;

import com.networknt.schema.Schema;
import com.networknt.schema.SchemaRegistry;
import com.networknt.schema.SpecificationVersion;
import java.util.List;
import tools.jackson.core.JacksonException;
import tools.jackson.databind.DeserializationFeature;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/** Texts against a schema, by libraries that know nothing of grammars. */
final class JsonCheck {
  private static final SchemaRegistry REGISTRY =
      SchemaRegistry.withDefaultDialect(SpecificationVersion.DRAFT_2020_12);
  private static final JsonMapper STRICT =
      JsonMapper.builder().enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS).build();

  private final Schema schema;

  JsonCheck(String schema) {
    this.schema = REGISTRY.getSchema(schema);
  }

  /** What is wrong with a text; empty if it is JSON of the schema. */
  List<String> violations(String text) {
    JsonNode document;
    try {
      document = STRICT.readTree(text);
    } catch (JacksonException e) {
      return List.of("is no JSON document: " + e.getOriginalMessage());
    }
    return schema.validate(document).stream().map(Object::toString).toList();
  }
}
