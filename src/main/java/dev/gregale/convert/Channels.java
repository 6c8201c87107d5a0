package dev.gregale.convert;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.OpenOption;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.HashSet;
import java.util.Set;

/** Opens files; the one place through which a conversion writes. */
@FunctionalInterface
interface Channels {

  /** Follows no link: what lies in the target's folder under a name is written there or not. */
  Channels SYSTEM =
      (path, options) -> {
        Set<OpenOption> unfollowing = new HashSet<>(options);
        unfollowing.add(LinkOption.NOFOLLOW_LINKS);
        return FileChannel.open(path, unfollowing);
      };

  FileChannel open(Path path, Set<? extends OpenOption> options) throws IOException;

  /** Writes a whole file and forces it to the disk. */
  default void write(Path path, ByteBuffer bytes) throws IOException {
    try (FileChannel out =
        open(
            path,
            Set.of(
                StandardOpenOption.WRITE,
                StandardOpenOption.CREATE,
                StandardOpenOption.TRUNCATE_EXISTING))) {
      writeFully(out, bytes, 0);
      out.force(true);
    }
  }

  /** Copies a whole file and forces it to the disk. */
  default void copy(Path from, Path to) throws IOException {
    try (FileChannel in = FileChannel.open(from, StandardOpenOption.READ);
        FileChannel out =
            open(
                to,
                Set.of(
                    StandardOpenOption.WRITE,
                    StandardOpenOption.CREATE,
                    StandardOpenOption.TRUNCATE_EXISTING))) {
      ByteBuffer buffer = ByteBuffer.allocate(1 << 16);
      long at = 0;
      while (in.read(buffer) >= 0) {
        at += writeFully(out, buffer.flip(), at);
        buffer.clear();
      }
      out.force(true);
    }
  }

  /** Forces the entries of a directory to the disk. */
  static void forceDirectory(Path directory) throws IOException {
    try (FileChannel channel = FileChannel.open(directory, StandardOpenOption.READ)) {
      channel.force(true);
    }
  }

  /** Writes all that remains, however few bytes the system takes at a time. */
  static int writeFully(FileChannel out, ByteBuffer bytes, long position) throws IOException {
    int count = bytes.remaining();
    long at = position;
    while (bytes.hasRemaining()) {
      int written = out.write(bytes, at);
      if (written <= 0) {
        throw new IOException("the file takes no more bytes");
      }
      at += written;
    }
    return count;
  }

  /** Whether a name is taken, be it by a link that leads nowhere. */
  static boolean exists(Path path) {
    return Files.exists(path, LinkOption.NOFOLLOW_LINKS);
  }
}
