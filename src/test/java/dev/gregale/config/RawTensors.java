package dev.gregale.config;

import dev.gregale.checkpoint.SafetensorsFile;
import dev.gregale.checkpoint.TensorInfo;
import dev.gregale.tensor.DType;
import dev.gregale.tensor.Shape;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.foreign.ValueLayout;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.TreeMap;
import java.util.function.Consumer;

/** A safetensors file taken apart, so that tests can damage it. */
final class RawTensors {

  /** Whatever bytes, whatever they are called. */
  record Raw(DType dtype, Shape shape, byte[] bytes) {
    static Raw floats(Shape shape, float... values) {
      ByteBuffer bytes = ByteBuffer.allocate(4 * values.length).order(ByteOrder.LITTLE_ENDIAN);
      bytes.asFloatBuffer().put(values);
      return new Raw(DType.F32, shape, bytes.array());
    }
  }

  private RawTensors() {}

  static Map<String, Raw> read(Path file) {
    Map<String, Raw> tensors = new TreeMap<>();
    try (SafetensorsFile source = SafetensorsFile.open(file)) {
      for (String name : source.names()) {
        TensorInfo info = source.info(name);
        byte[] bytes = source.data(name).toArray(ValueLayout.JAVA_BYTE);
        tensors.put(name, new Raw(info.dtype(), info.shape(), bytes));
      }
    }
    return tensors;
  }

  static void edit(Path file, Consumer<Map<String, Raw>> change) {
    Map<String, Raw> tensors = read(file);
    change.accept(tensors);
    StringBuilder header = new StringBuilder("{");
    ByteArrayOutputStream data = new ByteArrayOutputStream();
    tensors.forEach(
        (name, raw) -> {
          int start = data.size();
          data.writeBytes(raw.bytes());
          header
              .append(header.length() == 1 ? "" : ",")
              .append(
                  "\"%s\":{\"dtype\":\"%s\",\"shape\":%s,\"data_offsets\":[%d,%d]}"
                      .formatted(name, raw.dtype(), raw.shape(), start, data.size()));
        });
    byte[] text = header.append('}').toString().getBytes(StandardCharsets.UTF_8);
    byte[] all =
        ByteBuffer.allocate(8 + text.length + data.size())
            .order(ByteOrder.LITTLE_ENDIAN)
            .putLong(text.length)
            .put(text)
            .put(data.toByteArray())
            .array();
    try {
      Files.write(file, all);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }
}
