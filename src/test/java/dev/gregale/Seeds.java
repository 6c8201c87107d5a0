package dev.gregale;

import java.io.IOException;
import java.util.Random;

/** Runs of a test with one seed after another. */
public final class Seeds {
  private Seeds() {}

  /** A run, which is the same whenever its generator is. */
  public interface Run {
    void accept(int run, Random random) throws IOException;
  }

  /**
   * @throws AssertionError if a run fails, with its seed
   */
  public static void each(long firstSeed, int runs, Run test) {
    for (int run = 0; run < runs; run++) {
      long seed = firstSeed + run;
      try {
        test.accept(run, new Random(seed));
      } catch (IOException | RuntimeException | AssertionError e) {
        throw new AssertionError("seed " + seed, e);
      }
    }
  }
}
