package dev.gregale.structured;

import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import tools.jackson.databind.JsonNode;

/**
 * A schema, whole or within another.
 *
 * @param node an object with supported keywords only, or a boolean
 * @param path where it stands, as in {@code properties.age}; empty for the whole
 */
record Schema(JsonNode node, String path) {
  private static final int SHOWN_CHARS = 64;

  private static final List<String> TYPES =
      List.of("object", "array", "string", "number", "integer", "boolean", "null");

  private static final Set<String> KEYWORDS =
      new TreeSet<>(
          List.of(
              "$ref",
              "additionalProperties",
              "allOf",
              "anyOf",
              "const",
              "enum",
              "items",
              "maxItems",
              "maxLength",
              "minItems",
              "minLength",
              "properties",
              "required",
              "type"));

  /** What says nothing about values. */
  private static final Set<String> ANNOTATIONS =
      Set.of(
          "$comment",
          "$defs",
          "$schema",
          "default",
          "definitions",
          "deprecated",
          "description",
          "examples",
          "readOnly",
          "title",
          "writeOnly");

  Schema {
    if (!node.isObject() && !node.isBoolean()) {
      throw SchemaException.at(path, "must be an object or a boolean");
    }
    for (String keyword : node.propertyNames()) {
      if (!KEYWORDS.contains(keyword) && !ANNOTATIONS.contains(keyword)) {
        throw SchemaException.at(
            path,
            "has the keyword '%s', which is not supported; supported are %s"
                .formatted(cut(keyword), String.join(", ", KEYWORDS)));
      }
    }
  }

  private static String cut(String text) {
    return text.length() <= SHOWN_CHARS ? text : text.substring(0, SHOWN_CHARS) + "...";
  }

  SchemaException failure(String problem) {
    return SchemaException.at(path, problem);
  }

  boolean has(String keyword) {
    return node.has(keyword);
  }

  /** The value of a keyword that is there. */
  JsonNode get(String keyword) {
    return node.get(keyword);
  }

  /** The schema that is a keyword's value. */
  Schema child(String keyword) {
    return new Schema(node.get(keyword), join(keyword));
  }

  /** The schema of a property. */
  Schema property(String name) {
    return new Schema(node.get("properties").get(name), join("properties." + cut(name)));
  }

  /** The schemas in a keyword's array. */
  List<Schema> children(String keyword) {
    JsonNode array = get(keyword);
    if (!array.isArray() || array.isEmpty()) {
      throw failure("must have an array of schemas in " + keyword);
    }
    List<Schema> children = new ArrayList<>();
    for (JsonNode child : array) {
      children.add(new Schema(child, join(keyword) + "[" + children.size() + "]"));
    }
    return children;
  }

  private String join(String step) {
    return path.isEmpty() ? step : path + "." + step;
  }

  /** Refuses keywords beside one whose effect would depend on them. */
  void requireOnly(String keyword, String... besides) {
    Set<String> others = new TreeSet<>(KEYWORDS);
    others.remove(keyword);
    others.removeAll(List.of(besides));
    for (String other : others) {
      if (has(other)) {
        throw failure("has %s beside %s, which is not supported".formatted(other, keyword));
      }
    }
  }

  /** The value of a keyword that counts something. */
  int count(String keyword, int absent, int most) {
    if (!has(keyword)) {
      return absent;
    }
    JsonNode value = get(keyword);
    if (!value.canConvertToInt()
        || !value.isIntegralNumber()
        || value.intValue() < 0
        || value.intValue() > most) {
      throw failure("must have an integer from 0 to %d in %s".formatted(most, keyword));
    }
    return value.intValue();
  }

  /** The types of values it allows; where it names none, those that its keywords are about. */
  List<String> types() {
    if (!has("type")) {
      return typesOfKeywords();
    }
    JsonNode type = get("type");
    List<String> types = new ArrayList<>();
    for (JsonNode name : type.isArray() ? type : List.of(type)) {
      if (!name.isString() || !TYPES.contains(name.stringValue())) {
        throw failure("must have one or several of %s in type".formatted(String.join(", ", TYPES)));
      }
      types.add(name.stringValue());
    }
    return types;
  }

  private List<String> typesOfKeywords() {
    List<String> types = new ArrayList<>();
    if (has("properties") || has("required") || has("additionalProperties")) {
      types.add("object");
    }
    if (has("items") || has("minItems") || has("maxItems")) {
      types.add("array");
    }
    if (has("minLength") || has("maxLength")) {
      types.add("string");
    }
    return types.isEmpty() ? TYPES : types;
  }

  /** Names that must be there. */
  List<String> required() {
    List<String> names = new ArrayList<>();
    if (has("required")) {
      JsonNode array = get("required");
      if (!array.isArray() || !array.valueStream().allMatch(JsonNode::isString)) {
        throw failure("must have an array of strings in required");
      }
      array.forEach(name -> names.add(name.stringValue()));
    }
    return names;
  }

  /** Names of the properties it describes, in order. */
  List<String> propertyNames() {
    if (!has("properties")) {
      return List.of();
    }
    JsonNode properties = get("properties");
    if (!properties.isObject()) {
      throw failure("must have an object in properties");
    }
    return List.copyOf(properties.propertyNames());
  }
}
