package dev.gregale.build;

import com.google.googlejavaformat.java.Formatter;
import com.google.googlejavaformat.java.ImportOrderer;
import com.google.googlejavaformat.java.JavaFormatterOptions.Style;
import com.google.googlejavaformat.java.RemoveUnusedImports;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/** Checks or applies google-java-format: {@code SourceFormat check|apply DIR...}. */
public final class SourceFormat {

  private SourceFormat() {}

  public static void main(String[] args) throws Exception {
    boolean apply = args[0].equals("apply");
    List<Path> unformatted = new ArrayList<>();
    for (int i = 1; i < args.length; i++) {
      try (var files = Files.walk(Path.of(args[i]))) {
        for (Path file : files.filter(f -> f.toString().endsWith(".java")).sorted().toList()) {
          String source = Files.readString(file);
          String formatted = format(source);
          if (!formatted.equals(source)) {
            unformatted.add(file);
            if (apply) {
              Files.writeString(file, formatted);
            }
          }
        }
      }
    }
    if (!apply && !unformatted.isEmpty()) {
      unformatted.forEach(file -> System.err.println("not in house style: " + file));
      System.err.println("run: mvn -Pformat process-test-classes");
      System.exit(1);
    }
  }

  private static String format(String source) throws Exception {
    String unusedRemoved = RemoveUnusedImports.removeUnusedImports(source);
    return new Formatter().formatSource(ImportOrderer.reorderImports(unusedRemoved, Style.GOOGLE));
  }
}
