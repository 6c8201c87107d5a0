package dev.gregale.backend;

import dev.gregale.backend.cuda.CudaBackends;
import java.util.stream.Stream;
import org.junit.jupiter.api.Tag;

/** The same contract on the GPU. */
@Tag("gpu")
class CudaKernelsContractTest extends KernelsContractTest {

  @Override
  protected Stream<Device> backends() {
    return CudaBackends.both();
  }
}
