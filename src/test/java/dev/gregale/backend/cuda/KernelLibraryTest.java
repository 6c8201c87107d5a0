package dev.gregale.backend.cuda;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.File;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;

class KernelLibraryTest {

  /** Where nvcc is, every .cu file must have arrived on the class path with its kernels. */
  @Test
  void packsEveryKernelFile() throws Exception {
    assumeTrue(nvccIsOnThePath(), "nvcc is not on the PATH: this build is CPU-only");
    KernelLibrary library = KernelLibrary.fromClassPath();
    try (var files = Files.list(Path.of("native-kernels/kernels"))) {
      List<String> expected =
          files
              .map(file -> file.getFileName().toString())
              .filter(name -> name.endsWith(".cu"))
              .map(name -> name.replace(".cu", ".fatbin"))
              .sorted()
              .toList();
      assertEquals(
          expected, library.images().stream().map(KernelLibrary.Image::file).sorted().toList());
    }
    for (KernelLibrary.Image image : library.images()) {
      String text = new String(image.bytes(), StandardCharsets.ISO_8859_1);
      String op = image.file().replace(".fatbin", "");
      assertTrue(text.contains(op + "_bf16"), image.file() + " exports no " + op + "_bf16");
    }
  }

  private static boolean nvccIsOnThePath() {
    return Arrays.stream(System.getenv("PATH").split(File.pathSeparator))
        .anyMatch(folder -> Files.isExecutable(Path.of(folder, "nvcc")));
  }
}
