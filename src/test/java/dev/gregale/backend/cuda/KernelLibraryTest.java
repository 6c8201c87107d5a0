package dev.gregale.backend.cuda;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.File;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Test;

class KernelLibraryTest {
  /** Those whose name is written out; others come from macros. */
  private static final Pattern EXPORTED =
      Pattern.compile(
          "extern \"C\" __global__ void\\s+(?:__launch_bounds__\\([^)]*\\)\\s+)?([a-z]\\w+)\\(");

  /** Where nvcc is, every .cu file must have arrived on the class path with its kernels. */
  @Test
  void packsEveryKernelFile() throws Exception {
    assumeTrue(nvccIsOnThePath(), "nvcc is not on the PATH: this build is CPU-only");
    KernelLibrary library = KernelLibrary.fromClassPath();
    Path folder = Path.of("native-kernels/kernels");
    try (var files = Files.walk(folder)) {
      List<String> expected =
          files
              .map(file -> folder.relativize(file).toString())
              .filter(name -> name.endsWith(".cu"))
              .map(name -> name.replace(".cu", ".fatbin"))
              .sorted()
              .toList();
      assertEquals(
          expected, library.images().stream().map(KernelLibrary.Image::file).sorted().toList());
    }
    for (KernelLibrary.Image image : library.images()) {
      String text = new String(image.bytes(), StandardCharsets.ISO_8859_1);
      String source = Files.readString(folder.resolve(image.file().replace(".fatbin", ".cu")));
      List<String> exported =
          EXPORTED.matcher(source).results().map(match -> match.group(1)).toList();
      for (String kernel : exported) {
        assertTrue(text.contains(kernel), image.file() + " has no " + kernel);
      }
      assertTrue(source.contains("extern \"C\" __global__"), image.file() + " exports nothing");
    }
  }

  @Test
  void hopperImagesRunOnHopperAlone() {
    KernelLibrary.Image image = new KernelLibrary.Image("sm90a/matmul.fatbin", new byte[0]);
    assertTrue(image.runsOn(9, 0));
    assertFalse(image.runsOn(10, 0));
    assertEquals("matmul", image.source());
    assertTrue(new KernelLibrary.Image("matmul.fatbin", new byte[0]).runsOn(10, 0));
  }

  private static boolean nvccIsOnThePath() {
    return Arrays.stream(System.getenv("PATH").split(File.pathSeparator))
        .anyMatch(folder -> Files.isExecutable(Path.of(folder, "nvcc")));
  }
}
