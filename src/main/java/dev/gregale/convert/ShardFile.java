package dev.gregale.convert;

import com.sun.nio.file.ExtendedOpenOption;
import dev.gregale.checkpoint.ShardLayout;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * A safetensors file that is being written, by several threads at different places. Whole blocks go
 * past the page cache (O_DIRECT) where the file system can do that: they cost no memory, and what
 * is read back comes from the disk. The rest, less than a block at either end of a range, takes the
 * usual way.
 */
final class ShardFile implements AutoCloseable {

  /** Blocks of other sizes are rare, and are not bypassed. */
  static final int BLOCK_BYTES = 4096;

  /** Moves some of a buffer's bytes to or from a place of a file, and says how many. */
  private interface Transfer {
    int some(FileChannel file, ByteBuffer bytes, long position) throws IOException;
  }

  private final Path path;
  private final ShardLayout shard;
  private final FileChannel buffered;
  private final @Nullable FileChannel direct;

  private ShardFile(
      Path path, ShardLayout shard, FileChannel buffered, @Nullable FileChannel direct) {
    this.path = path;
    this.shard = shard;
    this.buffered = buffered;
    this.direct = direct;
  }

  /** Opens or creates the file of a shard, with its header and in its size. */
  static ShardFile open(Path folder, ShardLayout shard, Channels channels) throws IOException {
    Path path = folder.resolve(shard.fileName());
    FileChannel buffered =
        channels.open(
            path,
            Set.of(StandardOpenOption.READ, StandardOpenOption.WRITE, StandardOpenOption.CREATE));
    try {
      long size = shard.fileBytes();
      if (buffered.size() < size) { // at once: a file that grows is written by one at a time
        Channels.writeFully(buffered, ByteBuffer.allocate(1), size - 1);
      }
      buffered.truncate(size);
      Channels.writeFully(buffered, shard.head(), 0);
      return new ShardFile(path, shard, buffered, openDirect(path, channels));
    } catch (IOException | RuntimeException e) {
      buffered.close();
      throw e;
    }
  }

  /** Null where the file system has no such way. */
  private static @Nullable FileChannel openDirect(Path path, Channels channels) throws IOException {
    if (Files.getFileStore(path).getBlockSize() != BLOCK_BYTES) {
      return null;
    }
    try {
      return channels.open(
          path,
          Set.of(StandardOpenOption.READ, StandardOpenOption.WRITE, ExtendedOpenOption.DIRECT));
    } catch (UnsupportedOperationException | IOException e) {
      return null; // what is really wrong with the file shows at the next write
    }
  }

  /** What is to be written. */
  ShardLayout shard() {
    return shard;
  }

  /**
   * Writes all that remains.
   *
   * @param bytes begins in memory at the same offset within a block as in the file
   */
  void write(ByteBuffer bytes, long position) throws IOException {
    transfer(bytes, position, FileChannel::write, "the file takes no more bytes");
  }

  /** Fills what remains of a buffer that lies as for {@link #write}. */
  void read(ByteBuffer bytes, long position) throws IOException {
    transfer(bytes, position, (file, part, at) -> file.read(part, at), "the file is too short");
  }

  private void transfer(ByteBuffer bytes, long position, Transfer transfer, String stuck)
      throws IOException {
    long start = position - bytes.position();
    int from = bytes.position();
    int to = bytes.limit();
    int head = (int) (-position & (BLOCK_BYTES - 1));
    int blocks = (to - from - head) & -BLOCK_BYTES;
    if (direct != null && blocks > 0) {
      all(buffered, bytes.limit(from + head), start, 1, transfer, stuck);
      all(direct, bytes.limit(from + head + blocks), start, BLOCK_BYTES, transfer, stuck);
    }
    all(buffered, bytes.limit(to), start, 1, transfer, stuck);
  }

  /**
   * Goes on until the system has taken or given all, however little at a time.
   *
   * @param start where the buffer's byte 0 would be in the file
   * @param unit no transfer begins elsewhere than at a multiple of it
   */
  private void all(
      FileChannel file, ByteBuffer bytes, long start, int unit, Transfer transfer, String stuck)
      throws IOException {
    while (bytes.hasRemaining()) {
      int at = bytes.position();
      int whole = transfer.some(file, bytes, start + at) / unit * unit;
      if (whole <= 0) {
        throw new IOException(path + ": " + stuck);
      }
      bytes.position(at + whole);
    }
  }

  /** Waits until all is on the disk. */
  void force() throws IOException {
    buffered.force(true);
  }

  @Override
  public void close() throws IOException {
    try (buffered) {
      if (direct != null) {
        direct.close();
      }
    }
  }
}
