package dev.gregale.build;

import com.google.googlejavaformat.java.Formatter;
import com.google.googlejavaformat.java.FormatterException;
import com.google.googlejavaformat.java.ImportOrderer;
import com.google.googlejavaformat.java.JavaFormatterOptions.Style;
import com.google.googlejavaformat.java.RemoveUnusedImports;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/** Checks or applies google-java-format: {@code SourceFormat check|apply DIR...}. */
public final class SourceFormat {

  private SourceFormat() {}

  public static void main(String[] args) throws Exception {
    boolean apply = args[0].equals("apply");
    List<Path> all = new ArrayList<>();
    for (int i = 1; i < args.length; i++) {
      try (var files = Files.walk(Path.of(args[i]))) {
        files.filter(file -> file.toString().endsWith(".java")).sorted().forEach(all::add);
      }
    }
    List<Path> unformatted =
        all.parallelStream().filter(file -> !isFormatted(file, apply)).toList();
    if (!apply && !unformatted.isEmpty()) {
      unformatted.forEach(file -> System.err.println("not in house style: " + file));
      System.err.println("run: mvn -Pformat process-test-classes");
      System.exit(1);
    }
  }

  private static boolean isFormatted(Path file, boolean apply) {
    try {
      String source = Files.readString(file);
      String formatted = format(source);
      if (apply && !formatted.equals(source)) {
        Files.writeString(file, formatted);
      }
      return formatted.equals(source);
    } catch (IOException | FormatterException e) {
      throw new IllegalStateException(file.toString(), e);
    }
  }

  private static String format(String source) throws FormatterException {
    String unusedRemoved = RemoveUnusedImports.removeUnusedImports(source);
    return new Formatter().formatSource(ImportOrderer.reorderImports(unusedRemoved, Style.GOOGLE));
  }
}
