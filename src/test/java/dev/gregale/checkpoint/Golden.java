package dev.gregale.checkpoint;

import dev.gregale.tensor.DType;
import dev.gregale.tensor.HostTensor;
import dev.gregale.tensor.Shape;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;

/** Checkpoints that tests read, and small ones that they make. */
final class Golden {

  static final Path DIRECTORY = Path.of("src/test/resources/golden");
  static final Path ODD0 = DIRECTORY.resolve("random/odd0");
  static final Path ODD1 = DIRECTORY.resolve("random/odd1/hf");
  static final Path DEMO = Path.of("src/main/resources/models/fairytale-moe-7m");

  static final ModelDimensions ODD0_DIMENSIONS =
      new ModelDimensions(96, 2, 6, 3, 16, 4, 160, 320, false);
  static final ModelDimensions ODD1_DIMENSIONS =
      new ModelDimensions(64, 2, 4, 1, 32, 5, 96, 300, true);
  static final ModelDimensions DEMO_DIMENSIONS =
      new ModelDimensions(192, 6, 6, 2, 32, 8, 192, 4096, false);

  private Golden() {}

  /** A safetensors file with that header, its true length, and zeroed data. */
  static byte[] file(String header, int dataBytes) {
    return file(header.getBytes(StandardCharsets.UTF_8), dataBytes);
  }

  static byte[] file(byte[] header, int dataBytes) {
    return ByteBuffer.allocate(8 + header.length + dataBytes)
        .order(ByteOrder.LITTLE_ENDIAN)
        .putLong(header.length)
        .put(header)
        .array();
  }

  static Path write(Path directory, String name, byte[] bytes) {
    try {
      return Files.write(Files.createDirectories(directory).resolve(name), bytes);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  static Path write(Path directory, String name, String text) {
    return write(directory, name, text.getBytes(StandardCharsets.UTF_8));
  }

  /** A tensor of consecutive bytes, beginning at {@code first}. */
  static HostTensor counting(String name, DType dtype, int first, long... dims) {
    Shape shape = Shape.of(dims);
    byte[] bytes = new byte[Math.toIntExact(shape.numBytes(dtype))];
    for (int i = 0; i < bytes.length; i++) {
      bytes[i] = (byte) (first + i);
    }
    return new HostTensor(name, dtype, shape, List.of(MemorySegment.ofArray(bytes)));
  }

  /** The bytes of all slabs, one after the other. */
  static byte[] bytes(HostTensor tensor) {
    ByteBuffer all = ByteBuffer.allocate(Math.toIntExact(tensor.shape().numBytes(tensor.dtype())));
    tensor.slabs().forEach(slab -> all.put(slab.asByteBuffer()));
    return all.array();
  }
}
