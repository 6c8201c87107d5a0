package dev.gregale.config;

import io.swagger.v3.oas.models.OpenAPI;
import io.swagger.v3.oas.models.media.ArraySchema;
import io.swagger.v3.oas.models.media.IntegerSchema;
import io.swagger.v3.oas.models.media.JsonSchema;
import io.swagger.v3.oas.models.media.ObjectSchema;
import io.swagger.v3.oas.models.media.Schema;
import io.swagger.v3.oas.models.media.StringSchema;
import java.util.ArrayList;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Objects;
import java.util.Set;
import org.jspecify.annotations.Nullable;
import org.springdoc.core.customizers.OpenApiCustomizer;

/**
 * Says in the schemas what the records' types do not tell springdoc: unions such as "string or
 * array of strings", what may be null, and that a reply has all its keys.
 */
final class SchemaCustomizer implements OpenApiCustomizer {
  private static final String NULL = "null";
  private static final List<String> REPLIES =
      List.of(
          "CompletionResponse",
          "CompletionChoice",
          "CompletionLogprobs",
          "CompletionUsage",
          "ChatResponse",
          "ChatChoice",
          "ChatReply",
          "ChatLogprobs",
          "ChatTokenLogprob",
          "ChatTopLogprob",
          "PromptLogprob",
          "TokenizeResponse",
          "DetokenizeResponse",
          "ModelList",
          "Model");

  private static final List<String> REQUESTS =
      List.of(
          "CompletionRequest",
          "ChatRequest",
          "StreamOptions",
          "ResponseFormat",
          "JsonSchemaFormat",
          "TokenizeRequest",
          "DetokenizeRequest");

  /** Keys of replies that are there only where they were asked for. */
  private static final Set<String> ON_REQUEST =
      Set.of("prompt_logprobs", "prompt_token_ids", "token_ids", "routed_experts");

  @Override
  public void customise(OpenAPI api) {
    for (String reply : REPLIES) {
      Schema<?> schema = find(api, reply);
      schema.setRequired(
          schema.getProperties().keySet().stream().filter(k -> !ON_REQUEST.contains(k)).toList());
    }
    unions(api);
    for (String request : REQUESTS) {
      nullable(find(api, request));
    }
    nullable(find(api, "CompletionChoice"), "logprobs", "finish_reason");
    nullable(find(api, "ChatChoice"), "logprobs", "finish_reason");
    nullable(find(api, "ChatReply"), "refusal");
    nullable(find(api, "ChatLogprobs"), "refusal");
    nullable(find(api, "PromptLogprob"), "rank");
    nullable(find(api, "TokenizeResponse"), "token_strs");
    for (String list : List.of("token_logprobs", "top_logprobs")) {
      Schema<?> array = property(find(api, "CompletionLogprobs"), list);
      array.setItems(orNull(array.getItems()));
    }
  }

  private static void unions(OpenAPI api) {
    union(
        property(find(api, "CompletionRequest"), "prompt"),
        new StringSchema(),
        arrayOf(new StringSchema()),
        arrayOf(new IntegerSchema()),
        arrayOf(arrayOf(new IntegerSchema())));
    for (String request : List.of("CompletionRequest", "ChatRequest")) {
      union(property(find(api, request), "stop"), new StringSchema(), arrayOf(new StringSchema()));
    }
    Schema<?> part = new ObjectSchema();
    part.addProperty("type", new StringSchema()._enum(List.of("text")));
    part.addProperty("text", new StringSchema());
    part.setRequired(List.of("type", "text"));
    union(property(find(api, "ChatMessage"), "content"), new StringSchema(), arrayOf(part));
  }

  private static Schema<?> arrayOf(Schema<?> items) {
    return new ArraySchema().items(items);
  }

  private static void union(Schema<?> property, Schema<?>... alternatives) {
    property.setTypes(null);
    property.setItems(null);
    for (Schema<?> alternative : alternatives) {
      property.addOneOfItem(alternative);
    }
  }

  /** Every property that is not required may be null. */
  private static void nullable(Schema<?> schema) {
    List<String> required = Objects.requireNonNullElse(schema.getRequired(), List.of());
    nullable(
        schema,
        schema.getProperties().keySet().stream()
            .filter(name -> !required.contains(name))
            .toArray(String[]::new));
  }

  private static void nullable(Schema<?> schema, String... properties) {
    for (String name : properties) {
      schema.addProperty(name, orNull(property(schema, name)));
    }
  }

  private static <T> Schema<?> orNull(Schema<T> schema) {
    if (schema.getOneOf() != null) {
      return schema.addOneOfItem(ofNull());
    }
    if (schema.get$ref() != null) {
      return new JsonSchema().addOneOfItem(schema).addOneOfItem(ofNull());
    }
    Set<String> types = new LinkedHashSet<>(Objects.requireNonNull(schema.getTypes()));
    types.add(NULL);
    schema.setTypes(types);
    if (schema.getEnum() != null) {
      List<@Nullable T> values = new ArrayList<>(schema.getEnum()); // springdoc's own is fixed
      values.add(null);
      schema.setEnum(values);
    }
    return schema;
  }

  private static Schema<?> ofNull() {
    return new JsonSchema().types(Set.of(NULL));
  }

  private static Schema<?> property(Schema<?> schema, String name) {
    return Objects.requireNonNull(schema.getProperties().get(name), name);
  }

  private static Schema<?> find(OpenAPI api, String name) {
    return Objects.requireNonNull(api.getComponents().getSchemas().get(name), name);
  }
}
