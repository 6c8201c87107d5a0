package dev.gregale.model;

import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gregale.backend.AttentionShape;
import dev.gregale.checkpoint.SafetensorsFile;
import java.lang.foreign.ValueLayout;
import java.nio.file.Path;

/** Reference values made with transformers; see src/test/resources/golden/README.md. */
public final class Golden {
  public static final Path DEMO_MODEL = Path.of("src/main/resources/models/fairytale-moe-7m");

  /** Of the demo model. */
  static final AttentionShape DEMO_ATTENTION = new AttentionShape(6, 2, 32, 0);

  private static final Path FOLDER = Path.of("src/test/resources/golden");

  private Golden() {}

  public static Path path(String name) {
    return FOLDER.resolve(name);
  }

  public static SafetensorsFile open(String name) {
    return SafetensorsFile.open(path(name));
  }

  public static float[] floats(SafetensorsFile file, String tensor) {
    return file.data(tensor).toArray(ValueLayout.JAVA_FLOAT_UNALIGNED);
  }

  public static int[] ints(SafetensorsFile file, String tensor) {
    return file.data(tensor).toArray(ValueLayout.JAVA_INT_UNALIGNED);
  }

  /**
   * Every value within {@code tolerance} absolutely or relatively.
   *
   * @return the largest absolute error
   */
  public static double assertClose(
      String what, float[] expected, float[] found, int offset, double tolerance) {
    double worst = 0;
    for (int i = 0; i < expected.length; i++) {
      double error = Math.abs((double) expected[i] - found[offset + i]);
      worst = Math.max(worst, error);
      assertTrue(
          error <= tolerance * Math.max(1, Math.abs(expected[i])),
          "%s[%d]: expected %s, found %s".formatted(what, i, expected[i], found[offset + i]));
    }
    return worst;
  }
}
