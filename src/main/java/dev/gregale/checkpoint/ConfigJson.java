package dev.gregale.checkpoint;

import static dev.gregale.checkpoint.CheckpointException.quote;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;
import tools.jackson.core.JacksonException;
import tools.jackson.core.StreamReadConstraints;
import tools.jackson.core.StreamReadFeature;
import tools.jackson.core.json.JsonFactory;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/**
 * An object of a configuration file: values by key, a null value being the same as none. A value of
 * another type than asked for is a {@link CheckpointException}.
 */
public final class ConfigJson {

  private static final int MAX_BYTES = 1 << 20;
  private static final JsonMapper JSON =
      JsonMapper.builder(
              JsonFactory.builder()
                  .enable(StreamReadFeature.STRICT_DUPLICATE_DETECTION)
                  .streamReadConstraints(
                      StreamReadConstraints.builder()
                          .maxNestingDepth(64)
                          .maxNumberLength(64)
                          .build())
                  .build())
          .build();

  private final String file;
  private final JsonNode object;

  private ConfigJson(String file, JsonNode object) {
    this.file = file;
    this.object = object;
  }

  /**
   * Reads a file of at most 1 MiB.
   *
   * @throws CheckpointException if it cannot be read or is no JSON object without duplicate keys
   */
  public static ConfigJson read(Path path) {
    byte[] text;
    try {
      if (Files.size(path) > MAX_BYTES) {
        throw new CheckpointException(
            "%s: %d bytes, expected at most %d".formatted(path, Files.size(path), MAX_BYTES));
      }
      text = Files.readAllBytes(path);
    } catch (IOException e) {
      throw new CheckpointException(
          path + (Files.exists(path) ? ": cannot be read: " + e.getMessage() : ": no such file"),
          e);
    }
    try {
      JsonNode root = JSON.readTree(text);
      if (!root.isObject()) {
        throw new CheckpointException(path + ": expected a JSON object");
      }
      return new ConfigJson(path.toString(), root);
    } catch (JacksonException e) {
      throw new CheckpointException(
          "%s: not valid JSON: %s".formatted(path, quote(String.valueOf(e.getOriginalMessage()))),
          e);
    }
  }

  /** All of it; not to be changed. */
  public JsonNode tree() {
    return object;
  }

  public boolean has(String key) {
    return value(key) != null;
  }

  public int requiredInt(String key) {
    Integer value = optionalInt(key);
    if (value == null) {
      throw new CheckpointException(file + ": " + key + " is missing, expected an integer");
    }
    return value;
  }

  public @Nullable Integer optionalInt(String key) {
    JsonNode value = value(key);
    return value == null ? null : asInt(key, value);
  }

  /** An integer or a list of integers; null where there is none. */
  public @Nullable List<Integer> optionalInts(String key) {
    JsonNode value = value(key);
    if (value == null) {
      return null;
    }
    List<Integer> ints = new ArrayList<>();
    if (value.isArray()) {
      value.forEach(element -> ints.add(asInt(key, element)));
    } else {
      ints.add(asInt(key, value));
    }
    return ints;
  }

  public @Nullable Double optionalNumber(String key) {
    JsonNode value = value(key);
    if (value != null && !value.isNumber()) {
      throw wrong(key, value, "a number");
    }
    return value == null ? null : (Double) value.doubleValue();
  }

  public @Nullable String optionalString(String key) {
    JsonNode value = value(key);
    if (value != null && !value.isString()) {
      throw wrong(key, value, "a string");
    }
    return value == null ? null : value.stringValue();
  }

  public boolean optionalBoolean(String key, boolean absent) {
    JsonNode value = value(key);
    if (value != null && !value.isBoolean()) {
      throw wrong(key, value, "true or false");
    }
    return value == null ? absent : value.booleanValue();
  }

  /** A nested object; null where there is none. */
  public @Nullable ConfigJson optionalObject(String key) {
    JsonNode value = value(key);
    if (value != null && !value.isObject()) {
      throw wrong(key, value, "an object");
    }
    return value == null ? null : new ConfigJson(file + ": " + key, value);
  }

  /** A nested object. */
  public ConfigJson requiredObject(String key) {
    ConfigJson value = optionalObject(key);
    if (value == null) {
      throw new CheckpointException(file + ": " + key + " is missing, expected an object");
    }
    return value;
  }

  /** A list of strings and nulls; null where there is none. */
  public @Nullable List<@Nullable String> optionalStrings(String key) {
    JsonNode value = value(key);
    if (value == null) {
      return null;
    }
    List<@Nullable String> strings = new ArrayList<>();
    for (JsonNode element : value) {
      if (!element.isString() && !element.isNull()) {
        throw wrong(key, value, "a list of strings and nulls");
      }
      strings.add(element.isNull() ? null : element.stringValue());
    }
    if (!value.isArray()) {
      throw wrong(key, value, "a list of strings and nulls");
    }
    return strings;
  }

  /** What to throw where a value cannot be used. */
  public CheckpointException wrong(String key, Object found, String expected) {
    return new CheckpointException(
        "%s: %s: found %s, expected %s".formatted(file, key, quote(found.toString()), expected));
  }

  public CheckpointException invalid(IllegalArgumentException cause) {
    return new CheckpointException(file + ": " + cause.getMessage(), cause);
  }

  private @Nullable JsonNode value(String key) {
    JsonNode value = object.get(key);
    return value == null || value.isNull() ? null : value;
  }

  private int asInt(String key, JsonNode value) {
    if (!value.isIntegralNumber() || !value.canConvertToInt()) {
      throw wrong(key, value, "an integer of 32 bits");
    }
    return value.intValue();
  }
}
