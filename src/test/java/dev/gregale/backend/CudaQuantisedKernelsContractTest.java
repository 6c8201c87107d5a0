package dev.gregale.backend;

import dev.gregale.backend.cuda.CudaBackends;
import dev.gregale.tensor.InputScaling.When;
import java.util.stream.Stream;
import org.junit.jupiter.api.Tag;

/** The same contract on the GPU. */
@Tag("gpu")
class CudaQuantisedKernelsContractTest extends QuantisedKernelsContractTest {
  private static final double BF16_ROUNDING = 0x1p-8;

  @Override
  protected Stream<Backend> backends() {
    return CudaBackends.both();
  }

  /**
   * Weights whose shape has no tiles are kept in bf16, and so is what their inputs are rounded to.
   * The matrix unit adds the 128 products of codes by codes that it is given at a time with 13 bits
   * or so.
   */
  @Override
  protected double matmulTolerance(int outputs, int inputs, When when) {
    boolean hasTiles = inputs % 64 == 0 && outputs % 16 == 0;
    if (when == When.NEVER) {
      return hasTiles ? 1e-5 : 2 * BF16_ROUNDING;
    }
    return 4 * BF16_ROUNDING;
  }

  /**
   * SwiGLU is rounded to bf16 first, so that one code in a hundred falls to the next, an eighth
   * away at most. With scales that are powers of two this may be the largest, and most of an
   * answer.
   */
  @Override
  protected double flippedCodes() {
    return 0.15;
  }
}
