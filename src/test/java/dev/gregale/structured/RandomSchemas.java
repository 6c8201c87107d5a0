package dev.gregale.structured;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;
import tools.jackson.databind.node.ArrayNode;
import tools.jackson.databind.node.JsonNodeFactory;
import tools.jackson.databind.node.ObjectNode;

/** Random schemas of what is supported, each of which allows shallow values too. */
final class RandomSchemas {
  private static final JsonNodeFactory NODES = JsonNodeFactory.instance;
  private static final String[] NAMES = {
    "a",
    "ab",
    "abc",
    "name",
    "the king",
    "\u00e9t\u00e9",
    "q\"uote",
    "back\\slash",
    "\n",
    "\ud83e\udd81",
    ""
  };
  private static final String RECURSIVE =
      """
      {"type": "object", "required": ["value", "next"], "additionalProperties": false,
       "properties": {"value": %s, "next": {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/node"}]},
         "children": {"type": "array", "items": {"$ref": "#/$defs/node"}, "maxItems": 3}}}""";

  private final Random random;

  RandomSchemas(Random random) {
    this.random = random;
  }

  /** A whole schema. */
  ObjectNode next() {
    ObjectNode root = object(3);
    root.putObject("$defs")
        .set("node", JsonMapper.shared().readTree(RECURSIVE.formatted(schema(1, false))));
    return root;
  }

  JsonNode schema(int depth, boolean mayRefer) {
    int kinds = depth == 0 ? 7 : 12;
    return switch (random.nextInt(mayRefer ? kinds + 1 : kinds)) {
      case 0 -> string();
      case 1 -> NODES.objectNode().put("type", "integer").put("title", "annotation");
      case 2 -> NODES.objectNode().put("type", "number");
      case 3 -> NODES.objectNode().put("type", "boolean");
      case 4 -> constants();
      case 5 -> types();
      case 6 -> NODES.objectNode().set("const", value(2));
      case 7, 8 -> array(depth - 1);
      case 9, 10 -> object(depth - 1);
      case 11 -> anyOf(depth - 1);
      default -> NODES.objectNode().put("$ref", "#/$defs/node");
    };
  }

  private ObjectNode string() {
    ObjectNode schema = NODES.objectNode().put("type", "string");
    int least = random.nextInt(4);
    if (random.nextBoolean()) {
      schema.put("minLength", least);
    }
    if (random.nextBoolean()) {
      schema.put("maxLength", least + random.nextInt(30));
    }
    return schema;
  }

  private ObjectNode constants() {
    ObjectNode schema = NODES.objectNode();
    ArrayNode values = schema.putArray("enum");
    for (int i = 1 + random.nextInt(6); i > 0; i--) {
      values.add(value(1));
    }
    return schema;
  }

  private ObjectNode types() {
    ObjectNode schema = NODES.objectNode();
    List<String> types =
        new ArrayList<>(List.of("string", "integer", "number", "null", "object", "array"));
    java.util.Collections.shuffle(types, random);
    types.subList(0, 1 + random.nextInt(3)).forEach(schema.putArray("type")::add);
    return schema;
  }

  private ObjectNode array(int depth) {
    ObjectNode schema = NODES.objectNode().put("type", "array");
    schema.set("items", schema(depth, true));
    int least = random.nextInt(3);
    if (random.nextBoolean()) {
      schema.put("minItems", least);
    }
    if (random.nextBoolean()) {
      schema.put("maxItems", least + random.nextInt(4));
    }
    return schema;
  }

  private ObjectNode object(int depth) {
    ObjectNode schema = NODES.objectNode().put("type", "object");
    Map<String, JsonNode> properties = new LinkedHashMap<>();
    for (int i = random.nextInt(5); i > 0; i--) {
      properties.put(NAMES[random.nextInt(NAMES.length)], schema(depth, true));
    }
    schema.putObject("properties").setAll(properties);
    ArrayNode required = schema.putArray("required");
    properties.keySet().stream().filter(name -> random.nextBoolean()).forEach(required::add);
    switch (random.nextInt(4)) {
      case 0 -> schema.put("additionalProperties", random.nextBoolean());
      case 1 -> {
        schema.set("additionalProperties", schema(0, false));
        if (random.nextBoolean()) {
          required.add("undescribed");
        }
      }
      default -> {}
    }
    return schema;
  }

  private ObjectNode anyOf(int depth) {
    ObjectNode schema = NODES.objectNode();
    ArrayNode alternatives = schema.putArray("anyOf");
    for (int i = 2 + random.nextInt(3); i > 0; i--) {
      alternatives.add(schema(depth, true));
    }
    return schema;
  }

  /** Any value. */
  JsonNode value(int depth) {
    return switch (random.nextInt(depth == 0 ? 6 : 8)) {
      case 0 -> NODES.stringNode(text(random.nextInt(12)));
      case 1 -> NODES.numberNode(random.nextInt(2000) - 1000);
      case 2 -> NODES.numberNode(random.nextInt(2000) / 8.0);
      case 3 -> NODES.booleanNode(random.nextBoolean());
      case 4 -> NODES.nullNode();
      case 5 -> NODES.numberNode(random.nextLong() / 100);
      case 6 -> {
        ArrayNode array = NODES.arrayNode();
        for (int i = random.nextInt(3); i > 0; i--) {
          array.add(value(depth - 1));
        }
        yield array;
      }
      default -> {
        ObjectNode object = NODES.objectNode();
        for (int i = random.nextInt(3); i > 0; i--) {
          object.set(text(random.nextInt(5)), value(depth - 1));
        }
        yield object;
      }
    };
  }

  /** Of so many characters. */
  String text(int length) {
    StringBuilder text = new StringBuilder();
    for (int i = 0; i < length; i++) {
      text.appendCodePoint(
          switch (random.nextInt(12)) {
            case 0 -> random.nextInt(0x20, 0x100);
            case 1 -> random.nextInt(0x100, 0x800);
            case 2 -> random.nextInt(0x800, 0xD800);
            case 3 -> random.nextInt(0xE000, 0x10000);
            case 4 -> random.nextInt(0x10000, 0x110000);
            case 5 -> "\"\\/\b\f\n\r\t".charAt(random.nextInt(8));
            case 6 -> ' ';
            default -> 'a' + random.nextInt(26);
          });
    }
    return text.toString();
  }
}
