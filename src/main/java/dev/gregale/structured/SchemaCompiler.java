package dev.gregale.structured;

import java.net.URLDecoder;
import java.nio.charset.StandardCharsets;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.HashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.jspecify.annotations.Nullable;
import tools.jackson.core.JsonPointer;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.node.BooleanNode;

/**
 * Compiles a JSON schema into a {@link Grammar} of the texts that it allows. Each different schema
 * within becomes one rule, wherever it stands, so that schemas may refer to themselves.
 */
final class SchemaCompiler {
  private static final Schema ANYTHING = new Schema(BooleanNode.TRUE, "");
  private static final String VALUE = "value";

  private final JsonNode root;
  private final GrammarBuilder grammar = new GrammarBuilder();
  private final JsonRules rules = new JsonRules(grammar);
  private final Map<Key, Integer> ruleOf = new HashMap<>();
  private final Deque<Task> tasks = new ArrayDeque<>();

  /** Schemas of the same text mean the same. */
  private record Key(String text, String type) {}

  /** A rule to be defined: all of a schema's values, or those of one type. */
  private record Task(int rule, Schema schema, String type) {}

  private SchemaCompiler(JsonNode root) {
    this.root = root;
  }

  /**
   * @throws SchemaException saying what of the schema cannot be served
   */
  static Grammar compile(JsonNode root) {
    SchemaCompiler compiler = new SchemaCompiler(root);
    compiler.text(new Schema(root, ""));
    while (!compiler.tasks.isEmpty()) {
      compiler.define(compiler.tasks.remove());
    }
    Grammar grammar = compiler.grammar.build();
    if (grammar.callsItselfAtOnce()) {
      throw SchemaException.at("", "leads back to itself with no object or array between");
    }
    if (!grammar.hasText()) {
      throw SchemaException.at(
          "",
          "allows no value, or none of at most %d objects and arrays within each other"
              .formatted(Limits.NESTING));
    }
    return grammar;
  }

  /** The whole: vocabularies like to begin with a blank. */
  private void text(Schema schema) {
    int text = grammar.newRule(false);
    int value = grammar.whitespace(grammar.start(text));
    grammar.add(value, new Edge.Call(rule(schema), grammar.end(text)));
  }

  /** The rule of a schema, defined now or later. */
  private int rule(Schema schema) {
    return rule(resolve(schema), VALUE);
  }

  private int rule(Schema schema, String type) {
    Key key = new Key(schema.node().toString(), type);
    Integer known = ruleOf.get(key);
    if (known != null) {
      return known;
    }
    int rule = grammar.newRule(!type.equals(VALUE));
    ruleOf.put(key, rule);
    tasks.add(new Task(rule, schema, type));
    return rule;
  }

  /** Follows references. */
  private Schema resolve(Schema schema) {
    Set<String> seen = new LinkedHashSet<>();
    Schema at = schema;
    while (at.has("$ref")) {
      at.requireOnly("$ref");
      String reference = at.get("$ref").stringValue("");
      if (!reference.startsWith("#") || !seen.add(reference)) {
        throw at.failure("must have a reference within the schema, and not to itself, in $ref");
      }
      at = new Schema(target(at, reference), reference);
    }
    return at;
  }

  private JsonNode target(Schema schema, String reference) {
    JsonNode target;
    try {
      String pointer = reference.substring(1).replace("+", "%2B");
      target = root.at(JsonPointer.compile(URLDecoder.decode(pointer, StandardCharsets.UTF_8)));
    } catch (IllegalArgumentException e) {
      throw schema.failure("has a $ref that is no JSON pointer");
    }
    if (target.isMissingNode()) {
      throw schema.failure("has a $ref to what is not there");
    }
    return target;
  }

  private void define(Task task) {
    Schema schema = task.schema();
    switch (task.type()) {
      case "object" -> object(task.rule(), schema);
      case "array" -> array(task.rule(), schema);
      default -> value(task.rule(), schema);
    }
  }

  private void value(int rule, Schema schema) {
    if (schema.has("anyOf")) {
      schema.requireOnly("anyOf");
      schema.children("anyOf").forEach(child -> rules.alternative(rule, rule(child)));
    } else if (schema.has("allOf")) {
      schema.requireOnly("allOf");
      List<Schema> all = schema.children("allOf");
      if (all.size() > 1) {
        throw schema.failure("has an allOf of several schemas, which is not supported");
      }
      rules.alternative(rule, rule(all.getFirst()));
    } else if (schema.has("enum") || schema.has("const")) {
      rules.literals(rule, constants(schema));
    } else if (!schema.node().equals(BooleanNode.FALSE)) {
      List<String> types = schema.types();
      types.stream().distinct().forEach(type -> valueOfType(rule, schema, type));
    }
  }

  private void valueOfType(int rule, Schema schema, String type) {
    switch (type) {
      case "object", "array" -> rules.alternative(rule, rule(schema, type));
      case "string" -> rules.string(rule, string(schema));
      case "number" -> rules.number(rule);
      case "integer" -> {
        if (!schema.types().contains("number")) {
          rules.integer(rule);
        }
      }
      case "boolean" -> rules.literals(rule, List.of("true", "false"));
      case "null" -> rules.literals(rule, List.of("null"));
      default -> throw new IllegalArgumentException(type);
    }
  }

  private static List<String> constants(Schema schema) {
    String keyword = schema.has("enum") ? "enum" : "const";
    schema.requireOnly(keyword, "type");
    JsonNode given = schema.get(keyword);
    if (keyword.equals("enum") && !given.isArray()) {
      throw schema.failure("must have an array in enum");
    }
    List<String> types = schema.types();
    List<String> texts = new ArrayList<>();
    for (JsonNode value : keyword.equals("enum") ? given : List.of(given)) {
      if (value.isFloatingPointNumber() && !Double.isFinite(value.doubleValue())) {
        throw schema.failure("has a number in %s that is too large".formatted(keyword));
      }
      if (types.stream().anyMatch(type -> isOfType(value, type))) {
        texts.add(value.toString());
      }
    }
    return texts;
  }

  private static boolean isOfType(JsonNode value, String type) {
    return switch (type) {
      case "object" -> value.isObject();
      case "array" -> value.isArray();
      case "string" -> value.isString();
      case "number" -> value.isNumber();
      case "integer" -> value.isNumber() && value.doubleValue() == Math.rint(value.doubleValue());
      case "boolean" -> value.isBoolean();
      default -> value.isNull();
    };
  }

  private static StringRule string(Schema schema) {
    int least = schema.count("minLength", 0, Limits.STRING_LENGTH);
    int most = schema.count("maxLength", StringRule.UNBOUNDED, Limits.STRING_LENGTH);
    if (least > most) {
      throw schema.failure("has a minLength above its maxLength");
    }
    return StringRule.value(least, most);
  }

  private void array(int rule, Schema schema) {
    int least = schema.count("minItems", 0, Limits.ITEMS);
    int most = schema.count("maxItems", Integer.MAX_VALUE, Limits.ITEMS);
    if (least > most) {
      throw schema.failure("has a minItems above its maxItems");
    }
    rules.array(rule, rule(schema.has("items") ? schema.child("items") : ANYTHING), least, most);
  }

  private void object(int rule, Schema schema) {
    Set<String> required = new LinkedHashSet<>(schema.required());
    Integer others = others(schema);
    List<JsonRules.Property> properties = new ArrayList<>();
    for (String name : schema.propertyNames()) {
      boolean needed = required.remove(name);
      properties.add(new JsonRules.Property(name, rule(schema.property(name)), needed));
    }
    for (String name : required) {
      if (others == null) {
        throw schema.failure("requires a property that it does not have in properties");
      }
      properties.add(new JsonRules.Property(name, others, true));
    }
    if (properties.size() > Limits.PROPERTIES) {
      throw schema.failure("has more than %d properties".formatted(Limits.PROPERTIES));
    }
    rules.object(rule, properties, others);
  }

  /**
   * The rule of the values of properties that are not described; null where there may be none.
   * Where the schema does not say, it means those it describes, if any (vLLM reads it like that
   * too).
   */
  private @Nullable Integer others(Schema schema) {
    boolean told = schema.has("additionalProperties");
    if (!told && schema.has("properties")) {
      return null;
    }
    Schema others = told ? schema.child("additionalProperties") : ANYTHING;
    return others.node().equals(BooleanNode.FALSE) ? null : Integer.valueOf(rule(others));
  }
}
