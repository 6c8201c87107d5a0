package dev.gregale.checkpoint;

import static dev.gregale.checkpoint.CheckpointException.quote;

import dev.gregale.tensor.Shape;
import java.lang.foreign.MemorySegment;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.LongStream;
import tools.jackson.core.JacksonException;
import tools.jackson.core.JsonToken;
import tools.jackson.databind.json.JsonMapper;
import tools.jackson.databind.node.ArrayNode;
import tools.jackson.databind.node.ObjectNode;

/**
 * Where the tensors of a file begin in those that they are parts of, as PyTorch's {@code
 * torch.distributed.checkpoint} says it in the metadata of the safetensors files that ranks write
 * ({@code HuggingFaceStorageWriter}). Of a file that says nothing, every tensor is a whole.
 */
final class ShardOffsets {
  static final ShardOffsets NONE = new ShardOffsets(Map.of());

  private static final String KEY = "DCP_SHARDING_INFO";
  private static final String VERSION_KEY = "DCP_VERSION";
  private static final String VERSION = "1.0";
  private static final String OFFSETS = "saved_offsets";

  private final Map<String, List<Long>> offsetsOfTensor;

  private ShardOffsets(Map<String, List<Long>> offsetsOfTensor) {
    this.offsetsOfTensor = offsetsOfTensor;
  }

  /** Those of a rank's equal shares, parts along their first axes. */
  static ShardOffsets of(ExpertRank rank, List<TensorSpec> shares) {
    Map<String, List<Long>> offsets = new LinkedHashMap<>();
    for (TensorSpec share : shares) {
      long first = rank.rank() * share.shape().dim(0);
      offsets.put(share.name(), at(first, share.shape()));
    }
    return new ShardOffsets(offsets);
  }

  private static List<Long> at(long first, Shape shape) {
    return LongStream.range(0, shape.rank()).mapToObj(axis -> axis == 0 ? first : 0).toList();
  }

  /**
   * Those that a file's metadata has.
   *
   * @throws CheckpointException if they are malformed
   */
  static ShardOffsets of(SafetensorsFile file) {
    String text = file.metadata().get(KEY);
    if (text == null) {
      return NONE;
    }
    String what = file.path() + ": " + KEY;
    MemorySegment bytes = MemorySegment.ofArray(text.getBytes(StandardCharsets.UTF_8));
    try (JsonInput json = new JsonInput(what, bytes)) {
      return new ShardOffsets(parse(json));
    } catch (JacksonException e) {
      throw new CheckpointException(
          "%s: not valid JSON: %s".formatted(what, quote(String.valueOf(e.getOriginalMessage()))),
          e);
    }
  }

  private static Map<String, List<Long>> parse(JsonInput json) {
    Map<String, List<Long>> offsets = new HashMap<>();
    json.require(json.next(), JsonToken.START_OBJECT, "offsets");
    while (json.nextName()) {
      String tensor = json.name();
      List<Long> found = new ArrayList<>();
      json.require(json.next(), JsonToken.START_OBJECT, quote(tensor));
      while (json.nextName()) {
        if (json.name().equals(OFFSETS)) {
          LongStream.of(json.nextLongs(quote(tensor), SafetensorsHeader.MAX_RANK))
              .forEach(found::add);
        } else {
          json.skipValue();
        }
      }
      if (offsets.put(tensor, found) != null) {
        throw json.fail("duplicate key " + quote(tensor));
      }
    }
    return offsets;
  }

  /** For the metadata of a file. */
  Map<String, String> metadata() {
    Map<String, String> metadata = new LinkedHashMap<>(SafetensorsWriter.PYTORCH_METADATA);
    if (!offsetsOfTensor.isEmpty()) {
      ObjectNode json = JsonMapper.shared().createObjectNode();
      offsetsOfTensor.forEach(
          (tensor, offsets) -> {
            ArrayNode array = json.putObject(tensor).putArray(OFFSETS);
            offsets.forEach(array::add);
          });
      metadata.put(KEY, json.toString());
      metadata.put(VERSION_KEY, VERSION);
    }
    return metadata;
  }

  /** Whether a tensor begins so far along its first axis, and is cut along no other. */
  boolean begins(String tensor, Shape shape, long first) {
    List<Long> found = offsetsOfTensor.get(tensor);
    return found == null ? first == 0 : found.equals(at(first, shape));
  }

  /** Where a tensor begins along its first axis. */
  long first(String tensor) {
    List<Long> found = offsetsOfTensor.get(tensor);
    return found == null || found.isEmpty() ? 0 : found.getFirst();
  }

  /** As in {@code [4, 0, 0]}, for messages. */
  String describe(String tensor) {
    List<Long> found = offsetsOfTensor.get(tensor);
    return found == null ? "nothing" : found.toString();
  }

  /**
   * A tensor's name; of a part, one that tells it from the others, as in {@code
   * model...experts_down_weight[4:8]}.
   */
  String qualify(TensorInfo tensor) {
    if (!offsetsOfTensor.containsKey(tensor.name()) || tensor.shape().rank() == 0) {
      return tensor.name();
    }
    long first = first(tensor.name());
    return "%s[%d:%d]".formatted(tensor.name(), first, first + tensor.shape().dim(0));
  }
}
