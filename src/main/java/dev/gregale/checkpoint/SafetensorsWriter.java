package dev.gregale.checkpoint;

import static dev.gregale.checkpoint.CheckpointException.quote;

import dev.gregale.tensor.HostTensor;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import tools.jackson.core.JsonGenerator;
import tools.jackson.core.ObjectWriteContext;
import tools.jackson.core.json.JsonFactory;

/** Writes safetensors files. */
public final class SafetensorsWriter {

  /** The metadata that Hugging Face's loaders ask for. */
  public static final Map<String, String> PYTORCH_METADATA = Map.of("format", "pt");

  /** A ByteBuffer ends at 2 GiB, a slab may not: it goes out in pieces. */
  private static final long MAX_WRITE = 1L << 28;

  private static final JsonFactory JSON = new JsonFactory();

  private SafetensorsWriter() {}

  /**
   * Writes tensors in the given order; the data begins at a multiple of 8 bytes. The file appears
   * under its name, replacing what was there, only when it is complete and on disk; until then it
   * is a {@code .part} beside it.
   *
   * @throws CheckpointException if a name occurs twice or the file cannot be written
   */
  public static void write(Path path, List<HostTensor> tensors, Map<String, String> metadata) {
    byte[] header = header(path, tensors, metadata);
    Path part = path.resolveSibling(path.getFileName() + ".part");
    try {
      Files.deleteIfExists(part);
      try (FileChannel out =
          FileChannel.open(part, StandardOpenOption.WRITE, StandardOpenOption.CREATE_NEW)) {
        writeAll(out, header, tensors);
        out.force(true);
      } catch (IOException e) {
        Files.deleteIfExists(part);
        throw e;
      }
      Files.move(part, path, StandardCopyOption.ATOMIC_MOVE);
      try (FileChannel directory = FileChannel.open(path.toAbsolutePath().getParent())) {
        directory.force(true);
      }
    } catch (IOException e) {
      throw new CheckpointException(path + ": cannot be written: " + e.getMessage(), e);
    }
  }

  /** JSON, padded with spaces so that what follows it and its length is aligned to 8 bytes. */
  private static byte[] header(Path path, List<HostTensor> tensors, Map<String, String> metadata) {
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    try (JsonGenerator json = JSON.createGenerator(ObjectWriteContext.empty(), out)) {
      json.writeStartObject();
      if (!metadata.isEmpty()) {
        json.writeObjectPropertyStart("__metadata__");
        metadata.forEach(json::writeStringProperty);
        json.writeEndObject();
      }
      Set<String> names = new HashSet<>(Set.of("__metadata__"));
      long begin = 0;
      for (HostTensor tensor : tensors) {
        if (!names.add(tensor.name())) {
          throw new CheckpointException(
              "%s: tensor name %s is taken".formatted(path, quote(tensor.name())));
        }
        long end = begin + tensor.shape().numBytes(tensor.dtype());
        writeEntry(json, tensor, begin, end);
        begin = end;
      }
      json.writeEndObject();
    }
    while (out.size() % 8 != 0) {
      out.write(' ');
    }
    if (out.size() > SafetensorsHeader.MAX_HEADER_BYTES) {
      throw new CheckpointException(
          "%s: a header of %d bytes, the format allows %d"
              .formatted(path, out.size(), SafetensorsHeader.MAX_HEADER_BYTES));
    }
    return out.toByteArray();
  }

  private static void writeEntry(JsonGenerator json, HostTensor tensor, long begin, long end) {
    json.writeObjectPropertyStart(tensor.name());
    json.writeStringProperty("dtype", tensor.dtype().name());
    json.writeArrayPropertyStart("shape");
    for (int axis = 0; axis < tensor.shape().rank(); axis++) {
      json.writeNumber(tensor.shape().dim(axis));
    }
    json.writeEndArray();
    json.writeArrayPropertyStart("data_offsets");
    json.writeNumber(begin);
    json.writeNumber(end);
    json.writeEndArray();
    json.writeEndObject();
  }

  private static void writeAll(FileChannel out, byte[] header, List<HostTensor> tensors)
      throws IOException {
    ByteBuffer length = ByteBuffer.allocate(8).order(ByteOrder.LITTLE_ENDIAN);
    writeAll(out, length.putLong(0, header.length));
    writeAll(out, ByteBuffer.wrap(header));
    for (HostTensor tensor : tensors) {
      for (MemorySegment slab : tensor.slabs()) {
        for (long at = 0; at < slab.byteSize(); at += MAX_WRITE) {
          long count = Math.min(MAX_WRITE, slab.byteSize() - at);
          writeAll(out, slab.asSlice(at, count).asByteBuffer());
        }
      }
    }
  }

  private static void writeAll(FileChannel out, ByteBuffer bytes) throws IOException {
    while (bytes.hasRemaining()) {
      out.write(bytes);
    }
  }
}
