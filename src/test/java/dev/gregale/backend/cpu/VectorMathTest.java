package dev.gregale.backend.cpu;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.SplittableRandom;
import jdk.incubator.vector.FloatVector;
import org.junit.jupiter.api.Test;

class VectorMathTest {

  @Test
  void expIsWithinTwoUnitsOfTheLastPlace() {
    for (float x = -87; x < 88; x += 0.0037f) {
      float exact = (float) Math.exp(x);
      assertTrue(Math.abs(VectorMath.exp(x) - exact) <= 2 * Math.ulp(exact), "exp(" + x + ")");
    }
    assertEquals(1f, VectorMath.exp(0f));
  }

  @Test
  void expAtTheEdges() {
    assertTrue(VectorMath.exp(Float.NEGATIVE_INFINITY) < 2e-38f);
    assertTrue(VectorMath.exp(-1000f) < 2e-38f);
    assertTrue(VectorMath.exp(Float.POSITIVE_INFINITY) > 1e38f);
    assertTrue(Float.isNaN(VectorMath.exp(Float.NaN)));
  }

  @Test
  void lanesAndScalarsHaveTheSameBits() {
    SplittableRandom random = new SplittableRandom(1);
    float[] x = new float[VectorMath.LANES];
    float[] y = new float[VectorMath.LANES];
    for (int round = 0; round < 20_000; round++) {
      for (int i = 0; i < x.length; i++) {
        x[i] = (float) (random.nextGaussian() * 40);
      }
      x[round % x.length] = round % 2 == 0 ? Float.NEGATIVE_INFINITY : Float.NaN;
      VectorMath.exp(FloatVector.fromArray(VectorMath.FLOATS, x, 0)).intoArray(y, 0);
      for (int i = 0; i < x.length; i++) {
        assertEquals(VectorMath.exp(x[i]), y[i]);
      }
    }
  }
}
