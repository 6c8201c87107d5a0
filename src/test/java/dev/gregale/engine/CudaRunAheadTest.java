package dev.gregale.engine;

import dev.gregale.backend.Backend;
import dev.gregale.backend.cuda.CudaBackends;
import org.junit.jupiter.api.Tag;

/** On the GPU, in the mode in which a sequence does not depend on its company. */
@Tag("gpu")
class CudaRunAheadTest extends RunAheadTest {

  @Override
  Backend open() {
    return CudaBackends.deterministic();
  }

  /** The few objects that JCuda's calls take. */
  @Override
  long maxBytesPerStep() {
    return 64;
  }
}
