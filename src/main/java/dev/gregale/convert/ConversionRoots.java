package dev.gregale.convert;

import static dev.gregale.checkpoint.CheckpointException.quote;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.regex.Pattern;
import java.util.stream.Stream;

/**
 * The directories that names from outside may lead into. A name is checked as text first, by what
 * it may have instead of what it must not; then by where it really leads, every link followed. What
 * comes out is a path without links, to be used in place of the name.
 */
public final class ConversionRoots {
  private static final int MAX_NAME = 1024;
  private static final int MAX_FILES = 10_000;
  private static final Pattern PART = Pattern.compile("[A-Za-z0-9_][A-Za-z0-9._+=@-]{0,199}");
  private static final Pattern WINDOWS_DEVICE =
      Pattern.compile("(?i)(con|prn|aux|nul|com[0-9]|lpt[0-9])(\\..*)?");

  private final List<Path> roots;

  private ConversionRoots(List<Path> roots) {
    this.roots = List.copyOf(roots);
  }

  /**
   * @throws IllegalArgumentException if one of them is no directory, or the root of a file system
   */
  public static ConversionRoots of(List<Path> directories) {
    List<Path> roots = new ArrayList<>();
    for (Path directory : directories) {
      try {
        Path root = directory.toRealPath();
        if (!Files.isDirectory(root) || root.getNameCount() == 0) {
          throw new IllegalArgumentException(directory + " is not a directory of its own");
        }
        roots.add(root);
      } catch (IOException e) {
        throw new IllegalArgumentException("there is no directory " + directory, e);
      }
    }
    return new ConversionRoots(roots);
  }

  /**
   * An existing model directory.
   *
   * @param name relative to a root, the first one that has it, or absolute within one
   * @throws RootException if it cannot be, or it or a file in it leads out of the roots
   * @throws NoSuchFileException if there is no such directory
   */
  public Path source(String name) throws IOException {
    for (Path candidate : candidates(name)) {
      if (Files.isDirectory(candidate)) {
        Path source = requireWithin(candidate, name);
        requireFilesWithin(source, name);
        return source;
      }
    }
    throw new NoSuchFileException(name);
  }

  /**
   * A directory that is yet to be made, in one that exists.
   *
   * @param name relative to a root, the first one that has its parent, or absolute within one
   * @throws RootException if it cannot be, or leads out of the roots
   * @throws NoSuchFileException if its parent does not exist
   */
  public Path target(String name) throws IOException {
    for (Path candidate : candidates(name)) {
      Path parent = candidate.getParent();
      if (parent != null && Files.isDirectory(parent)) {
        Path target = requireWithin(parent, name).resolve(candidate.getFileName());
        if (Files.isSymbolicLink(target)) {
          throw outside(name);
        }
        return target;
      }
    }
    throw new NoSuchFileException(name);
  }

  /** Links are for the cache of Hugging Face, whose snapshots link into its blobs. */
  private void requireFilesWithin(Path source, String name) throws IOException {
    List<Path> files;
    try (Stream<Path> entries = Files.list(source)) {
      files = entries.limit(MAX_FILES + 1).toList();
    }
    if (files.size() > MAX_FILES) {
      throw new RootException(false, quote(name) + " has more than " + MAX_FILES + " files");
    }
    for (Path file : files) {
      requireWithin(file, name);
    }
  }

  /** Where a well-formed name may lead, links not yet followed. */
  private List<Path> candidates(String name) {
    if (name.isEmpty() || name.length() > MAX_NAME) {
      throw malformed(name, "expected 1 to " + MAX_NAME + " characters");
    }
    if (!name.startsWith("/")) {
      requireParts(name, name);
      return roots.stream().map(root -> root.resolve(name)).toList();
    }
    for (Path root : roots) {
      String prefix = root + "/";
      if (name.startsWith(prefix)) {
        requireParts(name, name.substring(prefix.length()));
        return List.of(Path.of(name));
      }
    }
    throw outside(name);
  }

  private static void requireParts(String name, String relative) {
    for (String part : relative.split("/", -1)) {
      if (!PART.matcher(part).matches()
          || part.endsWith(".")
          || WINDOWS_DEVICE.matcher(part).matches()) {
        throw malformed(
            name,
            "each part must begin with a letter, a digit or _ and may have . + = @ - besides");
      }
    }
  }

  /** The real path of what exists. */
  private Path requireWithin(Path path, String name) throws IOException {
    Path real;
    try {
      real = path.toRealPath();
    } catch (NoSuchFileException e) {
      throw outside(name); // a link to nowhere could be one to anywhere
    }
    if (roots.stream().noneMatch(real::startsWith)
        || !Files.isDirectory(real, LinkOption.NOFOLLOW_LINKS)
            && !Files.isRegularFile(real, LinkOption.NOFOLLOW_LINKS)) {
      throw outside(name);
    }
    return real;
  }

  private static RootException malformed(String name, String expected) {
    return new RootException(true, quote(name) + " is not a name that is taken: " + expected);
  }

  private static RootException outside(String name) {
    return new RootException(
        false, quote(name) + " leads out of the directories of gregale.convert.roots");
  }
}
