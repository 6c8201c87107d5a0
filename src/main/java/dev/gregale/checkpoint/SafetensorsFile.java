package dev.gregale.checkpoint;

import static dev.gregale.checkpoint.CheckpointException.quote;

import dev.gregale.tensor.HostTensor;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.channels.FileChannel;
import java.nio.channels.FileChannel.MapMode;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;

/**
 * A safetensors file, mapped into memory and checked in full before a byte of data is handed out.
 * Threads may share it. What it hands out lies in the mapping: read-only, not necessarily aligned
 * to its element size, and gone after {@link #close}. The file must not be cut while it is open;
 * replacing it by a rename is safe.
 */
public final class SafetensorsFile implements AutoCloseable {

  private final Path path;
  private final Arena arena;
  private final MemorySegment bytes;
  private final SafetensorsHeader header;

  private SafetensorsFile(Path path, Arena arena, MemorySegment bytes, SafetensorsHeader header) {
    this.path = path;
    this.arena = arena;
    this.bytes = bytes;
    this.header = header;
  }

  /**
   * Maps a file and checks its header.
   *
   * @throws CheckpointException if it cannot be read or is not a valid safetensors file
   */
  @SuppressWarnings("MustBeClosedChecker") // the file that is returned owns the arena
  public static SafetensorsFile open(Path path) {
    if (!Files.isRegularFile(path)) {
      throw new CheckpointException(
          path + (Files.exists(path) ? ": not a regular file" : ": no such file"));
    }
    Arena arena = Arena.ofShared();
    boolean opened = false;
    try (FileChannel channel = FileChannel.open(path, StandardOpenOption.READ)) {
      MemorySegment bytes = channel.map(MapMode.READ_ONLY, 0, channel.size(), arena);
      SafetensorsHeader header = SafetensorsHeader.parse(path.toString(), bytes);
      opened = true;
      return new SafetensorsFile(path, arena, bytes, header);
    } catch (IOException e) {
      throw new CheckpointException(path + ": cannot be read: " + e.getMessage(), e);
    } finally {
      if (!opened) {
        arena.close();
      }
    }
  }

  public Path path() {
    return path;
  }

  /** The names of all tensors, in the order of their data. */
  public Set<String> names() {
    return header.tensors().keySet();
  }

  /** All tensors, in the order of their data. */
  public List<TensorInfo> tensors() {
    return List.copyOf(header.tensors().values());
  }

  /** The file's {@code __metadata__}; empty where it has none. */
  public Map<String, String> metadata() {
    return header.metadata();
  }

  /**
   * Every tensor by a name that tells a rank's share from those of the others.
   *
   * @throws CheckpointException if the file's metadata is malformed
   */
  public Map<String, TensorInfo> qualified() {
    ShardOffsets offsets = ShardOffsets.of(this);
    Map<String, TensorInfo> tensors = new LinkedHashMap<>();
    tensors().forEach(tensor -> tensors.put(offsets.qualify(tensor), tensor));
    return tensors;
  }

  public boolean contains(String name) {
    return header.tensors().containsKey(name);
  }

  /**
   * @throws CheckpointException if there is no such tensor
   */
  public TensorInfo info(String name) {
    TensorInfo info = header.tensors().get(name);
    if (info == null) {
      throw new CheckpointException(
          "%s: no tensor %s among its %d".formatted(path, quote(name), names().size()));
    }
    return info;
  }

  /**
   * The bytes of a tensor, row-major and little-endian.
   *
   * @throws CheckpointException if there is no such tensor
   */
  public MemorySegment data(String name) {
    TensorInfo info = info(name);
    return bytes.asSlice(info.offset(), info.bytes());
  }

  /**
   * A tensor in place; none of codes, which are nothing without their scales.
   *
   * @throws CheckpointException if there is no such tensor
   */
  public HostTensor tensor(String name) {
    TensorInfo info = info(name);
    return new HostTensor(name, info.dtype(), info.shape(), List.of(data(name)));
  }

  /** Unmaps the file; closing twice is fine. */
  @Override
  public void close() {
    if (arena.scope().isAlive()) {
      arena.close();
    }
  }
}
