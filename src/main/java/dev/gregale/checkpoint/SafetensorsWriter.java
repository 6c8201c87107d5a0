package dev.gregale.checkpoint;

import dev.gregale.tensor.HostTensor;
import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.util.List;
import java.util.Map;

/** Writes safetensors files. */
public final class SafetensorsWriter {

  /** The metadata that Hugging Face's loaders ask for. */
  public static final Map<String, String> PYTORCH_METADATA = Map.of("format", "pt");

  /** A ByteBuffer ends at 2 GiB, a slab may not: it goes out in pieces. */
  private static final long MAX_WRITE = 1L << 28;

  private SafetensorsWriter() {}

  /**
   * Writes tensors in the given order; the data begins at a multiple of 8 bytes. The file appears
   * under its name, replacing what was there, only when it is complete and on disk; until then it
   * is a {@code .part} beside it.
   *
   * @throws CheckpointException if a name occurs twice or the file cannot be written
   */
  public static void write(Path path, List<HostTensor> tensors, Map<String, String> metadata) {
    List<TensorSpec> specs =
        tensors.stream().map(t -> new TensorSpec(t.name(), t.dtype(), t.shape())).toList();
    ShardLayout layout = ShardLayout.of(path.toString(), specs, metadata);
    Path part = path.resolveSibling(path.getFileName() + ".part");
    try {
      Files.deleteIfExists(part);
      try (FileChannel out =
          FileChannel.open(part, StandardOpenOption.WRITE, StandardOpenOption.CREATE_NEW)) {
        writeAll(out, layout, tensors);
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

  private static void writeAll(FileChannel out, ShardLayout layout, List<HostTensor> tensors)
      throws IOException {
    writeAll(out, layout.head());
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
