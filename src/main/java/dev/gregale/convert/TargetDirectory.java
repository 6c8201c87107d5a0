package dev.gregale.convert;

import dev.gregale.checkpoint.Checkpoint;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.List;
import java.util.stream.Stream;

/**
 * A directory that appears under its name only when it is complete. Until then it is {@code
 * .NAME.partial} beside it. What it replaces is {@code .NAME.replaced} for the moment between two
 * renames.
 */
final class TargetDirectory {
  private final Path target;
  private final Path parent;

  /**
   * @throws TargetException if the path cannot be a target
   */
  TargetDirectory(Path path) throws IOException {
    Path absolute = path.toAbsolutePath().normalize();
    Path parentPath = absolute.getParent();
    if (parentPath == null || !Files.isDirectory(parentPath)) {
      throw new TargetException(path + ": no such parent directory; make it first");
    }
    this.parent = parentPath.toRealPath();
    this.target = parent.resolve(absolute.getFileName());
  }

  Path path() {
    return target;
  }

  /** Where the target is made. */
  Path partial() {
    return sibling("partial");
  }

  private Path replaced() {
    return sibling("replaced");
  }

  private Path sibling(String what) {
    return parent.resolve("." + target.getFileName() + "." + what);
  }

  /**
   * Checks that the target can be made.
   *
   * @throws TargetException if it exists and must not be replaced, or is the source or within it
   */
  void require(Path source, boolean overwrite) throws IOException {
    Path realSource = source.toRealPath();
    if (target.startsWith(realSource)) {
      throw new TargetException(target + ": lies in the source; choose another target");
    }
    if (!Channels.exists(target)) {
      return;
    }
    if (!overwrite) {
      throw new TargetException(target + ": exists; remove it, or ask to overwrite it");
    }
    if (!Files.isDirectory(target, LinkOption.NOFOLLOW_LINKS)
        || !realSource.equals(target) && realSource.startsWith(target)) {
      throw new TargetException(target + ": not a directory of its own; it is not overwritten");
    }
    List<Path> entries = entries(target);
    for (Path entry : entries) {
      if (!Files.isRegularFile(entry, LinkOption.NOFOLLOW_LINKS)) {
        throw new TargetException(entry + ": not a plain file of a checkpoint; nothing is removed");
      }
    }
    if (!entries.isEmpty() && !Files.exists(target.resolve("config.json"))) {
      throw new TargetException(target + ": not a checkpoint; it is not overwritten");
    }
  }

  /** Makes the partial folder if there is none. */
  void begin() throws IOException {
    Path partial = partial();
    if (Channels.exists(partial)) {
      if (!Files.isDirectory(partial, LinkOption.NOFOLLOW_LINKS)) {
        throw new TargetException(partial + ": in the way; remove it");
      }
    } else {
      Files.createDirectory(partial);
      Channels.forceDirectory(parent);
    }
  }

  /** Removes files of the partial folder but for its journal. */
  void clear() throws IOException {
    for (Path entry : entries(partial())) {
      if (!entry.endsWith(Journal.FILE_NAME)) {
        Files.delete(entry);
      }
    }
  }

  /** Removes the partial folder. */
  void discard() throws IOException {
    if (Channels.exists(partial())) {
      remove(partial());
    }
  }

  /** Gives the partial folder its name. The journal goes last: until then nobody else may begin. */
  void publish() throws IOException {
    Channels.forceDirectory(partial());
    if (Channels.exists(target)) {
      if (Channels.exists(replaced())) {
        remove(replaced());
      }
      Files.move(target, replaced(), StandardCopyOption.ATOMIC_MOVE);
    }
    Files.move(partial(), target, StandardCopyOption.ATOMIC_MOVE);
    Channels.forceDirectory(parent);
    finish();
  }

  /** What is left to do once the target has its name. */
  void finish() throws IOException {
    Files.deleteIfExists(target.resolve(Journal.FILE_NAME));
    if (Channels.exists(replaced())) {
      remove(replaced());
    }
  }

  /** Whether a conversion was interrupted between giving the target its name and its last step. */
  boolean isUnfinished() {
    return Files.exists(target.resolve(Journal.FILE_NAME))
        && Files.exists(target.resolve(Manifest.FILE_NAME))
        && Files.exists(target.resolve(Checkpoint.CONFIG_FILE));
  }

  private static void remove(Path directory) throws IOException {
    for (Path entry : entries(directory)) {
      Files.delete(entry); // never a directory with entries of its own
    }
    Files.delete(directory);
  }

  private static List<Path> entries(Path directory) throws IOException {
    try (Stream<Path> entries = Files.list(directory)) {
      return entries.toList();
    }
  }
}
