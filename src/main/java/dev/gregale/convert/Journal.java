package dev.gregale.convert;

import dev.gregale.checkpoint.TensorInfo;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.channels.FileLock;
import java.nio.channels.OverlappingFileLockException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;

/**
 * Which tensors of an unfinished target are on the disk and read back: the plan's identity, then a
 * line per tensor, {@code SHA-256 name}, in the order of the plan. A line that was cut short by a
 * crash does not count. Open, it also keeps a second conversion out of the same folder.
 */
final class Journal implements AutoCloseable {
  static final String FILE_NAME = "conversion.journal";
  private static final int MAX_BYTES = 1 << 28;

  private final FileChannel channel;
  private final List<String> names = new ArrayList<>();
  private final List<String> sums = new ArrayList<>();
  private final String header;
  private boolean resumable;
  private long end;

  private Journal(FileChannel channel, String identity) {
    this.channel = channel;
    this.header = identity + "\n";
  }

  /**
   * Opens or creates the journal of a folder and locks it.
   *
   * @throws TargetException if another conversion has it locked
   */
  static Journal open(Path folder, ConversionPlan plan, Channels channels) throws IOException {
    Path path = folder.resolve(FILE_NAME);
    FileChannel channel =
        channels.open(
            path,
            Set.of(StandardOpenOption.READ, StandardOpenOption.WRITE, StandardOpenOption.CREATE));
    try {
      lock(channel, folder);
      Journal journal = new Journal(channel, plan.identity());
      journal.load(plan);
      return journal;
    } catch (IOException | RuntimeException e) {
      channel.close();
      throw e;
    }
  }

  /**
   * Keeps conversions out of a folder until the channel is closed.
   *
   * @throws TargetException if one is at work there
   */
  @SuppressWarnings("MustBeClosed") // the lock goes with the channel
  static void lock(FileChannel channel, Path folder) throws IOException {
    FileLock lock;
    try {
      lock = channel.tryLock();
    } catch (OverlappingFileLockException e) {
      lock = null;
    }
    if (lock == null) {
      throw new TargetException(folder + ": another conversion is at work here; wait for it");
    }
  }

  private void load(ConversionPlan plan) throws IOException {
    byte[] bytes = new byte[Math.toIntExact(Math.min(channel.size(), MAX_BYTES))];
    ByteBuffer buffer = ByteBuffer.wrap(bytes);
    while (buffer.hasRemaining() && channel.read(buffer, buffer.position()) > 0) {}
    String text = new String(bytes, StandardCharsets.UTF_8);
    if (!text.startsWith(header)) {
      return;
    }
    resumable = true;
    end = header.length();
    for (TensorInfo tensor : plan.tensors()) {
      int next = text.indexOf('\n', (int) end) + 1;
      String line = next == 0 ? "" : text.substring((int) end, next);
      if (!line.matches("[0-9a-f]{64}  .*\n")
          || !line.substring(66, line.length() - 1).equals(tensor.name())) {
        return;
      }
      names.add(tensor.name());
      sums.add(line.substring(0, 64));
      end = next;
    }
  }

  /** Whether this conversion has been begun before. */
  boolean resumable() {
    return resumable;
  }

  /** Whether nothing has been begun, neither this conversion nor another. */
  boolean isEmpty() throws IOException {
    return channel.size() < header.length();
  }

  /** Begins anew, or at the end of what is done. */
  void begin() throws IOException {
    if (!resumable) {
      channel.truncate(0);
      Channels.writeFully(channel, ByteBuffer.wrap(header.getBytes(StandardCharsets.UTF_8)), 0);
      end = header.length();
    }
    channel.truncate(end);
    channel.force(true);
  }

  /** Tensors that are done. */
  int size() {
    return sums.size();
  }

  /** The SHA-256 sums of the tensors that are done. */
  List<String> sums() {
    return sums;
  }

  /** Counts only the first tensors as done. */
  void truncate(int tensors) throws IOException {
    for (int i = sums.size(); i > tensors; i--) {
      end -= lineBytes(names.removeLast());
      sums.removeLast();
    }
    channel.truncate(end);
    channel.force(true);
  }

  private static int lineBytes(String name) {
    return 64 + 2 + name.getBytes(StandardCharsets.UTF_8).length + 1;
  }

  /** Notes that tensors are done, for good. */
  void append(List<TensorInfo> tensors, List<String> newSums) throws IOException {
    StringBuilder lines = new StringBuilder();
    for (int i = 0; i < tensors.size(); i++) {
      lines.append(newSums.get(i)).append("  ").append(tensors.get(i).name()).append('\n');
    }
    ByteBuffer bytes = ByteBuffer.wrap(lines.toString().getBytes(StandardCharsets.UTF_8));
    end += Channels.writeFully(channel, bytes, end);
    channel.force(true);
    tensors.forEach(tensor -> names.add(tensor.name()));
    sums.addAll(newSums);
  }

  @Override
  public void close() throws IOException {
    channel.close();
  }
}
