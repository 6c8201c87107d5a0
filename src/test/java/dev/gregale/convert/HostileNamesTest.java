package dev.gregale.convert;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Random;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;

/** No name from outside leads out of the roots. */
class HostileNamesTest extends RootsFixture {
  private static final int GENERATED = 2_000;

  private static final long SEED = 20260103;

  /** Each of them spoils any name that it is a part of. */
  private static final String[] HOSTILE = {
    "..",
    ".",
    "",
    "...",
    ".hidden",
    ".model.partial",
    "~",
    "~root",
    "-rf",
    "a b",
    " ",
    "model ",
    "model.",
    "..;",
    "%2e%2e",
    "%2e%2e%2f",
    "..%2f",
    "%00",
    "\0",
    "model\0",
    "model\0.txt",
    "\n",
    "\t",
    "\u007f",
    "\\",
    "..\\",
    "..\\..",
    "C:",
    "C:\\Windows",
    "c:model",
    "model:stream",
    "CON",
    "nul",
    "aux.txt",
    "COM1",
    "lpt9.bin",
    "prn",
    "\\\\?\\C:",
    "\\\\server\\share",
    "$HOME",
    "`id`",
    "$(id)",
    ";id",
    "|",
    "*",
    "?",
    "<x>",
    "\"q\"",
    "'q'",
    "{}",
    "[a]",
    "&",
    "!",
    "#",
    "\uff0e\uff0e", // full-width full stops
    "\u2024\u2024", // one dot leaders
    "\u2025", // two dot leader
    "..\u200b", // zero width space
    "\u202emodel", // right-to-left override
    "\u2215", // division slash
    "\uff0f..\uff0f", // full-width solidus
    "\u0000",
    "mod\u00e9l",
    "mode\u0301l",
    "\u0430model", // Cyrillic a
    "\ud800", // half of a pair
    "\ufeffmodel",
    "outside",
    "outside-file",
    "nowhere",
    "loop",
    "up"
  };

  private static final String[] HARMLESS = {"model", "alias", "sub", "a", "Mixtral-8x7B", "_x+1@2"};

  private static boolean accepted(Resolver resolver, String name) throws IOException {
    try {
      resolver.resolve(name);
      return true;
    } catch (RootException | NoSuchFileException e) {
      return false; // anything else fails the test
    }
  }

  private interface Resolver {
    Path resolve(String name) throws IOException;
  }

  @Test
  void noHostileNameIsTaken() throws IOException {
    Set<String> before = tree();
    ConversionRoots roots = roots();
    Set<String> names = new HashSet<>(fixed());
    Random random = new Random(SEED);
    while (names.size() < fixed().size() + GENERATED) {
      names.add(hostile(random));
    }
    try (ConversionJobs jobs =
        new ConversionJobs(
            roots,
            (source, converted) -> {
              throw new AssertionError("ran");
            },
            1,
            1,
            1)) {
      for (String name : names) {
        assertThat(accepted(roots::source, name)).as("source %s", name).isFalse();
        assertThat(accepted(roots::target, name)).as("target %s", name).isFalse();
        for (ConversionJob.Order order : List.of(order(name, "new"), order("sub/model", name))) {
          assertThatThrownBy(() -> jobs.submit(order, null))
              .as("job of %s", name)
              .isInstanceOfAny(RootException.class, NoSuchFileException.class);
        }
      }
      assertThat(jobs.list()).isEmpty();
    }
    assertThat(tree()).isEqualTo(before);
  }

  private static ConversionJob.Order order(String source, String target) {
    return new ConversionJob.Order(
        source, target, null, null, null, false, 1 << 20, 1, true, false, false);
  }

  /** Whole names; also what no part of a name can say. */
  private List<String> fixed() {
    List<String> names = new ArrayList<>();
    for (String path :
        List.of(
            "/",
            "//",
            "/etc",
            "/etc/passwd",
            "/dev/null",
            "/dev/stdin",
            "/proc/self/root",
            "/proc/self/cwd",
            "/proc/self/fd/0",
            "/sys",
            "file:///etc/passwd",
            "http://x/y",
            "..",
            "../secret",
            "sub/../../secret",
            "sub/model/..",
            "./sub",
            "sub//model",
            "sub/",
            "outside/model",
            "outside/new",
            "up/secret",
            "nowhere/new",
            "loop/new",
            "a".repeat(201),
            "a/".repeat(600) + "a",
            "x".repeat(100_000))) {
      names.add(path);
    }
    names.add(secret.toString());
    names.add(root.toString());
    names.add(root + "/");
    names.add(root + "/../secret");
    names.add(root + "/outside");
    names.add(root + "/outside/new");
    names.add(root + "x"); // begins like the root
    names.add(folder.toString());
    return names;
  }

  private String hostile(Random random) {
    List<String> parts = new ArrayList<>();
    for (int i = random.nextInt(4); i > 0; i--) {
      parts.add(HARMLESS[random.nextInt(HARMLESS.length)]);
    }
    boolean link = false;
    String spoiling = HOSTILE[random.nextInt(HOSTILE.length)];
    for (String name : List.of("outside", "outside-file", "nowhere", "loop", "up")) {
      link |= spoiling.equals(name);
    }
    // A link's name means something only where the link is.
    parts.add(link ? 0 : random.nextInt(parts.size() + 1), spoiling);
    String separator = random.nextInt(8) == 0 ? "\\" : "/";
    String name = String.join(separator, parts);
    return switch (random.nextInt(6)) {
      case 0 -> root + "/" + name;
      case 1 -> "/" + name;
      default -> name;
    };
  }

  private Set<String> tree() throws IOException {
    try (Stream<Path> paths = Files.walk(folder)) {
      return new TreeSet<>(paths.map(Path::toString).toList());
    }
  }
}
