package dev.gregale.convert;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.MappedByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.channels.FileLock;
import java.nio.channels.ReadableByteChannel;
import java.nio.channels.WritableByteChannel;
import org.jspecify.annotations.Nullable;

/** A file that can go wrong as files do. */
final class FaultyChannel extends FileChannel {

  /** Comes before an operation, and may throw what the operation is to throw. */
  interface Fault {
    /**
     * @return the most bytes that a write takes
     */
    int before(String operation, ByteBuffer bytes) throws IOException;

    /** Whether what is read next is not what was written. */
    default boolean misreads() {
      return false;
    }
  }

  private static final int BLOCK = ShardFile.BLOCK_BYTES;
  private static final ByteBuffer NONE = ByteBuffer.allocate(0);

  private final FileChannel file;
  private final Fault fault;

  FaultyChannel(FileChannel file, Fault fault) {
    this.file = file;
    this.fault = fault;
  }

  @Override
  public int write(ByteBuffer bytes, long position) throws IOException {
    int most = fault.before("write", bytes);
    if (bytes.remaining() % BLOCK == 0 && most > 0) {
      most = Math.max(BLOCK, most / BLOCK * BLOCK); // may be O_DIRECT, which goes by blocks
    }
    ByteBuffer part = bytes.slice(bytes.position(), Math.min(most, bytes.remaining()));
    int written = file.write(part, position);
    bytes.position(bytes.position() + written);
    return written;
  }

  @Override
  public void force(boolean metaData) throws IOException {
    fault.before("force", NONE); // the disk itself is not tested, nor waited for
  }

  @Override
  public FileChannel truncate(long size) throws IOException {
    fault.before("truncate", NONE);
    file.truncate(size);
    return this;
  }

  @Override
  public int read(ByteBuffer bytes) throws IOException {
    return file.read(bytes);
  }

  @Override
  public int read(ByteBuffer bytes, long position) throws IOException {
    int start = bytes.position();
    int count = file.read(bytes, position);
    if (count > 0 && fault.misreads()) {
      bytes.put(start, (byte) ~bytes.get(start));
    }
    return count;
  }

  @Override
  public long read(ByteBuffer[] bytes, int offset, int length) throws IOException {
    return file.read(bytes, offset, length);
  }

  @Override
  public int write(ByteBuffer bytes) {
    throw new UnsupportedOperationException("written without a position");
  }

  @Override
  public long write(ByteBuffer[] bytes, int offset, int length) {
    throw new UnsupportedOperationException("written without a position");
  }

  @Override
  public long position() throws IOException {
    return file.position();
  }

  @Override
  public FileChannel position(long position) throws IOException {
    file.position(position);
    return this;
  }

  @Override
  public long size() throws IOException {
    return file.size();
  }

  @Override
  public long transferTo(long position, long count, WritableByteChannel to) throws IOException {
    return file.transferTo(position, count, to);
  }

  @Override
  public long transferFrom(ReadableByteChannel from, long position, long count) {
    throw new UnsupportedOperationException("written without a buffer");
  }

  @Override
  public MappedByteBuffer map(MapMode mode, long position, long size) throws IOException {
    return file.map(mode, position, size);
  }

  @Override
  public MemorySegment map(MapMode mode, long offset, long size, Arena arena) throws IOException {
    return file.map(mode, offset, size, arena);
  }

  @Override
  public FileLock lock(long position, long size, boolean shared) throws IOException {
    return file.lock(position, size, shared);
  }

  @Override
  public @Nullable FileLock tryLock(long position, long size, boolean shared) throws IOException {
    return file.tryLock(position, size, shared);
  }

  @Override
  protected void implCloseChannel() throws IOException {
    file.close();
  }
}
