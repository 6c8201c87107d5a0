package dev.gregale.model;

import dev.gregale.backend.Backend;
import dev.gregale.backend.cuda.CudaBackends;
import java.util.stream.Stream;
import org.junit.jupiter.api.Tag;

/** The same on a GPU, whose bf16 operands leave more choices in doubt. */
@Tag("gpu")
class CudaRoutingGoldenTest extends RoutingGoldenTest {

  @Override
  Stream<? extends Backend> backends() {
    return CudaBackends.both();
  }

  @Override
  double routerGap() {
    return 0.05;
  }

  @Override
  double clearShare() {
    return 0.5;
  }
}
