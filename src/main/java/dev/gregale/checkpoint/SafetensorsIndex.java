package dev.gregale.checkpoint;

import static dev.gregale.checkpoint.CheckpointException.quote;

import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.regex.Pattern;
import tools.jackson.core.JacksonException;
import tools.jackson.core.JsonToken;

/**
 * A {@code model.safetensors.index.json}: which shard holds which tensor.
 *
 * @param weightMap tensor name to the shard's file name, which is a plain name without directories
 */
public record SafetensorsIndex(Map<String, String> weightMap) {

  /** What Hugging Face calls the file. */
  public static final String FILE_NAME = "model.safetensors.index.json";

  /** The key of tensor name to file name. */
  public static final String WEIGHT_MAP = "weight_map";

  static final long MAX_BYTES = 64L << 20;
  private static final Pattern SHARD_NAME =
      Pattern.compile("[A-Za-z0-9_][A-Za-z0-9._-]{0,200}\\.safetensors");

  public SafetensorsIndex {
    weightMap = Collections.unmodifiableMap(new LinkedHashMap<>(weightMap));
  }

  /**
   * Reads an index; other keys than {@code weight_map} are ignored.
   *
   * @throws CheckpointException if it is malformed or names a shard that is not a plain file name
   */
  public static SafetensorsIndex read(Path path) {
    byte[] text;
    try {
      if (Files.size(path) > MAX_BYTES) {
        throw new CheckpointException(
            "%s: %d bytes, expected at most %d".formatted(path, Files.size(path), MAX_BYTES));
      }
      text = Files.readAllBytes(path);
    } catch (IOException e) {
      throw new CheckpointException(path + ": cannot be read: " + e.getMessage(), e);
    }
    try (JsonInput json = new JsonInput(path.toString(), MemorySegment.ofArray(text))) {
      return new SafetensorsIndex(parse(json));
    } catch (JacksonException e) {
      throw new CheckpointException(
          "%s: not valid JSON: %s".formatted(path, quote(String.valueOf(e.getOriginalMessage()))),
          e);
    }
  }

  private static Map<String, String> parse(JsonInput json) {
    Map<String, String> weightMap = new LinkedHashMap<>();
    boolean found = false;
    json.require(json.next(), JsonToken.START_OBJECT, "index");
    while (json.nextName()) {
      if (!json.name().equals(WEIGHT_MAP)) {
        json.skipValue();
      } else if (found) {
        throw json.fail("duplicate key 'weight_map'");
      } else {
        found = true;
        readWeightMap(json, weightMap);
      }
    }
    if (weightMap.isEmpty()) {
      throw json.fail("no tensors in weight_map");
    }
    return weightMap;
  }

  private static void readWeightMap(JsonInput json, Map<String, String> weightMap) {
    json.require(json.next(), JsonToken.START_OBJECT, "weight_map");
    while (json.nextName()) {
      String tensor = json.name();
      String shard = json.nextString("weight_map " + quote(tensor));
      if (!SHARD_NAME.matcher(shard).matches()) {
        throw json.fail(
            "tensor %s: shard %s, expected the plain name of a .safetensors file beside the index"
                .formatted(quote(tensor), quote(shard)));
      }
      if (weightMap.putIfAbsent(tensor, shard) != null) {
        throw json.fail("duplicate key: tensor %s occurs twice".formatted(quote(tensor)));
      }
      if (weightMap.size() > SafetensorsHeader.MAX_TENSORS) {
        throw json.fail("more than " + SafetensorsHeader.MAX_TENSORS + " tensors");
      }
    }
  }
}
