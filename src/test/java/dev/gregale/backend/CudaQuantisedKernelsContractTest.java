package dev.gregale.backend;

import dev.gregale.backend.cuda.CudaBackends;
import java.util.stream.Stream;
import org.junit.jupiter.api.Tag;

/** The same contract on the GPU. */
@Tag("gpu")
class CudaQuantisedKernelsContractTest extends QuantisedKernelsContractTest {

  @Override
  protected Stream<Device> backends() {
    return CudaBackends.both();
  }

  /**
   * Hopper's matrix unit shifts the 32 products that it adds at a time, and the sum before, to the
   * largest one's exponent and keeps 13 bits behind the point of each.
   */
  @Override
  protected double codeRounding() {
    return 0x1p-13;
  }
}
