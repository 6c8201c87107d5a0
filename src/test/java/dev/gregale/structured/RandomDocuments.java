package dev.gregale.structured;

import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/** Random documents of a schema, as texts; written from the schema, not from a grammar. */
final class RandomDocuments {
  private final Random random;
  private final RandomSchemas values;
  private final JsonNode root;

  RandomDocuments(Random random, JsonNode root) {
    this.random = random;
    this.values = new RandomSchemas(random);
    this.root = root;
  }

  String next() {
    return text(root, 4);
  }

  private String text(JsonNode schema, int depth) {
    if (schema.has("$ref")) {
      return text(root.at(schema.get("$ref").stringValue().substring(1)), depth);
    }
    for (String choice : List.of("anyOf", "enum")) {
      if (schema.has(choice)) {
        JsonNode options = schema.get(choice);
        JsonNode option = options.get(depth <= 0 ? 0 : random.nextInt(options.size()));
        return choice.equals("enum") ? option.toString() : text(option, depth);
      }
    }
    if (schema.has("const")) {
      return schema.get("const").toString();
    }
    JsonNode type = schema.path("type");
    String name =
        type.isArray()
            ? type.get(random.nextInt(type.size())).stringValue()
            : type.stringValue("any");
    return switch (name) {
      case "object" -> object(schema, depth);
      case "array" -> array(schema, depth);
      case "string" -> string(schema);
      case "integer" -> Long.toString(random.nextLong() >> random.nextInt(8, 64));
      case "number" -> number();
      case "boolean" -> Boolean.toString(random.nextBoolean());
      case "null" -> "null";
      default -> values.value(Math.max(0, Math.min(2, depth))).toString();
    };
  }

  private String string(JsonNode schema) {
    int least = schema.path("minLength").intValue(0);
    int most = schema.path("maxLength").intValue(least + 20);
    return JsonMapper.shared()
        .writeValueAsString(values.text(least + random.nextInt(most - least + 1)));
  }

  private String number() {
    return switch (random.nextInt(3)) {
      case 0 -> Integer.toString(random.nextInt());
      case 1 -> Double.toString(random.nextInt() / 1024.0);
      default -> random.nextInt(100) + "." + random.nextInt(1000) + "e" + (random.nextInt(90) - 45);
    };
  }

  private String array(JsonNode schema, int depth) {
    JsonNode items =
        schema.has("items") ? schema.get("items") : JsonMapper.shared().createObjectNode();
    int least = schema.path("minItems").intValue(0);
    int most = depth <= 0 ? least : schema.path("maxItems").intValue(least + 3);
    List<String> parts = new ArrayList<>();
    for (int i = least + random.nextInt(most - least + 1); i > 0; i--) {
      parts.add(blank() + text(items, depth - 1) + blank());
    }
    return "[" + (parts.isEmpty() ? blank() : String.join(",", parts)) + "]";
  }

  private String object(JsonNode schema, int depth) {
    List<String> required = new ArrayList<>();
    schema.path("required").forEach(name -> required.add(name.stringValue()));
    List<String> parts = new ArrayList<>();
    JsonNode properties = schema.path("properties");
    for (String name : properties.propertyNames()) {
      if (required.contains(name) || (depth > 0 && random.nextBoolean())) {
        parts.add(member(name, text(properties.get(name), depth - 1)));
      }
    }
    JsonNode others = schema.path("additionalProperties");
    boolean open = others.isMissingNode() ? properties.isMissingNode() : !others.equals(FALSE);
    if (open) {
      JsonNode value = others.isObject() ? others : JsonMapper.shared().createObjectNode();
      required.stream()
          .filter(name -> !properties.has(name))
          .forEach(name -> parts.add(member(name, text(value, depth - 1))));
      for (int i = random.nextInt(3); i > 0; i--) {
        parts.add(
            member("other " + values.text(3).replaceAll("\\p{Cntrl}", ""), text(value, depth - 1)));
      }
    }
    return "{" + (parts.isEmpty() ? blank() : String.join(",", parts)) + "}";
  }

  private static final JsonNode FALSE = JsonMapper.shared().readTree("false");

  private String member(String name, String value) {
    String quoted = JsonMapper.shared().writeValueAsString(name);
    return blank() + quoted + blank() + ":" + blank() + value + blank();
  }

  private String blank() {
    return switch (random.nextInt(6)) {
      case 0 -> " ";
      case 1 -> "\n" + "  ".repeat(random.nextInt(5));
      case 2 -> "\t  ";
      default -> "";
    };
  }
}
