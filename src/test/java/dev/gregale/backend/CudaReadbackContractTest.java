package dev.gregale.backend;

import dev.gregale.backend.cuda.CudaBackends;
import java.util.stream.Stream;
import org.junit.jupiter.api.Tag;

/** The same contract on the GPU. */
@Tag("gpu")
class CudaReadbackContractTest extends ReadbackContractTest {

  @Override
  Stream<Device> backends() {
    return CudaBackends.both();
  }
}
