package dev.gregale.checkpoint;

import static dev.gregale.checkpoint.CheckpointException.quote;

import dev.gregale.tensor.DType;
import dev.gregale.tensor.Shape;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import tools.jackson.core.JacksonException;
import tools.jackson.core.JsonToken;

/**
 * The header of a safetensors file: its length N as a little-endian u64, N bytes of JSON, then the
 * data. Checked as in the format's description (huggingface/safetensors), and beyond what its
 * reference implementation checks: no duplicate keys, no unknown keys, nothing but spaces behind
 * the JSON, bounded counts.
 *
 * @param metadata the file's {@code __metadata__}; empty where it has none
 * @param tensors by name, in the order of their data
 */
record SafetensorsHeader(Map<String, String> metadata, Map<String, TensorInfo> tensors) {

  static final long MAX_HEADER_BYTES = 100_000_000;
  static final int MAX_TENSORS = 1 << 16;
  static final int MAX_METADATA = 1 << 14;

  /** Of all names and metadata together: what a file can make us keep is bounded. */
  static final int MAX_TEXT = 8 << 20;

  static final int MAX_RANK = 8;

  private static final ValueLayout.OfLong U64 =
      ValueLayout.JAVA_LONG_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);

  /**
   * @param file for messages
   * @param bytes the whole file
   * @throws CheckpointException if it is not a valid safetensors file
   */
  static SafetensorsHeader parse(String file, MemorySegment bytes) {
    long length = headerLength(file, bytes);
    MemorySegment header = bytes.asSlice(8, length);
    if (header.get(ValueLayout.JAVA_BYTE, 0) != '{') {
      throw new CheckpointException(file + ": the header does not begin with '{'");
    }
    try (JsonInput json = new JsonInput(file, header)) {
      return new Reader(json, header, bytes.byteSize() - 8 - length).read();
    } catch (JacksonException e) {
      throw new CheckpointException(
          "%s: the header is not valid JSON: %s"
              .formatted(file, quote(String.valueOf(e.getOriginalMessage()))),
          e);
    }
  }

  private static long headerLength(String file, MemorySegment bytes) {
    if (bytes.byteSize() < 8) {
      throw new CheckpointException(
          "%s: %d bytes, a safetensors file has at least 8".formatted(file, bytes.byteSize()));
    }
    long length = bytes.get(U64, 0);
    if (length < 2 || length > MAX_HEADER_BYTES) {
      throw new CheckpointException(
          "%s: header length %s, expected 2 to %d"
              .formatted(file, Long.toUnsignedString(length), MAX_HEADER_BYTES));
    }
    if (length > bytes.byteSize() - 8) {
      throw new CheckpointException(
          "%s: header length %d, but only %d bytes follow: the file is cut short or no safetensors"
              .formatted(file, length, bytes.byteSize() - 8));
    }
    return length;
  }

  /** One pass over the JSON; {@code dataBytes} follow it in the file. */
  private static final class Reader {
    private final JsonInput json;
    private final MemorySegment header;
    private final long dataBytes;
    private final Map<String, TensorInfo> tensors = new LinkedHashMap<>();
    private @Nullable Map<String, String> metadata;
    private long textLength;

    Reader(JsonInput json, MemorySegment header, long dataBytes) {
      this.json = json;
      this.header = header;
      this.dataBytes = dataBytes;
    }

    SafetensorsHeader read() {
      json.require(json.next(), JsonToken.START_OBJECT, "header");
      while (json.nextName()) {
        String name = json.name();
        if (name.equals("__metadata__")) {
          readMetadata();
        } else {
          readTensor(name);
        }
      }
      for (long i = json.position(); i < header.byteSize(); i++) {
        byte found = header.get(ValueLayout.JAVA_BYTE, i);
        if (found != ' ') {
          throw json.fail(
              "byte 0x%02x at %d behind the JSON, only spaces may follow".formatted(found, i));
        }
      }
      return new SafetensorsHeader(
          metadata == null ? Map.of() : Collections.unmodifiableMap(metadata), inDataOrder());
    }

    private void readMetadata() {
      if (metadata != null) {
        throw json.fail("duplicate key '__metadata__'");
      }
      metadata = new LinkedHashMap<>();
      json.require(json.next(), JsonToken.START_OBJECT, "__metadata__");
      while (json.nextName()) {
        String key = json.name();
        String value = json.nextString("__metadata__ " + quote(key));
        if (metadata.putIfAbsent(key, value) != null) {
          throw json.fail("duplicate key %s in __metadata__".formatted(quote(key)));
        }
        count(key);
        count(value);
        if (metadata.size() > MAX_METADATA) {
          throw json.fail("more than " + MAX_METADATA + " entries in __metadata__");
        }
      }
    }

    private void count(String text) {
      textLength += text.length();
      if (textLength > MAX_TEXT) {
        throw json.fail("names and metadata of more than " + MAX_TEXT + " characters");
      }
    }

    private void readTensor(String name) {
      String what = "tensor " + quote(name);
      json.require(json.next(), JsonToken.START_OBJECT, what);
      String dtype = null;
      long[] shape = null;
      long[] offsets = null;
      while (json.nextName()) {
        String key = json.name();
        if (key.equals("dtype") && dtype == null) {
          dtype = json.nextString(what + " dtype");
        } else if (key.equals("shape") && shape == null) {
          shape = json.nextLongs(what + " shape", MAX_RANK);
        } else if (key.equals("data_offsets") && offsets == null) {
          offsets = json.nextLongs(what + " data_offsets", 2);
        } else {
          throw json.fail(
              "%s: duplicate or unknown key %s, expected dtype, shape and data_offsets once each"
                  .formatted(what, quote(key)));
        }
      }
      if (dtype == null || shape == null || offsets == null || offsets.length != 2) {
        throw json.fail(what + ": expected dtype, shape and data_offsets of two numbers");
      }
      TensorInfo info = tensorInfo(name, dtype, shape, offsets);
      if (tensors.putIfAbsent(name, info) != null) {
        throw json.fail("duplicate key: %s occurs twice".formatted(what));
      }
      count(name);
      if (tensors.size() > MAX_TENSORS) {
        throw json.fail("more than " + MAX_TENSORS + " tensors");
      }
    }

    private TensorInfo tensorInfo(String name, String dtype, long[] dims, long[] offsets) {
      String what = "tensor " + quote(name);
      long begin = offsets[0];
      long end = offsets[1];
      if (end < begin || end > dataBytes) {
        throw json.fail(
            "%s: data_offsets [%d, %d], expected a range within the %d bytes of data"
                .formatted(what, begin, end, dataBytes));
      }
      DType type;
      Shape shape;
      long bytes;
      try {
        type = DType.ofSafetensors(dtype);
        shape = Shape.of(dims);
        bytes = shape.numBytes(type);
      } catch (ArithmeticException e) {
        throw json.fail(
            "%s: shape %s has more bytes than a long can count"
                .formatted(what, Arrays.toString(dims)));
      } catch (IllegalArgumentException e) {
        throw json.fail(
            "%s: unknown dtype %s, expected one of %s"
                .formatted(what, quote(dtype), List.of(DType.values())));
      }
      if (bytes != end - begin) {
        throw json.fail(
            "%s: %s %s needs %d bytes, data_offsets [%d, %d] have %d"
                .formatted(what, type, shape, bytes, begin, end, end - begin));
      }
      return new TensorInfo(name, type, shape, 8 + header.byteSize() + begin, bytes);
    }

    /** The tensors must cover the data exactly; empty ones lie between two others. */
    private Map<String, TensorInfo> inDataOrder() {
      List<TensorInfo> sorted = new ArrayList<>(tensors.values());
      sorted.sort(
          Comparator.comparingLong(TensorInfo::offset).thenComparingLong(TensorInfo::bytes));
      Map<String, TensorInfo> ordered = LinkedHashMap.newLinkedHashMap(sorted.size());
      long dataStart = 8 + header.byteSize();
      long end = dataStart;
      for (TensorInfo info : sorted) {
        if (info.offset() != end) {
          throw json.fail(
              "tensor %s: data begins at %d, expected %d where the one before ends: %s"
                  .formatted(
                      quote(info.name()),
                      info.offset() - dataStart,
                      end - dataStart,
                      info.offset() < end ? "they overlap" : "bytes without a tensor"));
        }
        end = info.offset() + info.bytes();
        ordered.put(info.name(), info);
      }
      if (end != dataStart + dataBytes) {
        throw json.fail(
            "%d bytes of data, the tensors cover %d".formatted(dataBytes, end - dataStart));
      }
      return Collections.unmodifiableMap(ordered);
    }
  }
}
