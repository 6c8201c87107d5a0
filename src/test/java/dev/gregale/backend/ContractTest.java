package dev.gregale.backend;

import dev.gregale.backend.cpu.CpuBackends;
import java.util.stream.Stream;
import org.junit.jupiter.api.TestInstance;

/** What every backend must do, shown beside the oracle. Subclasses name other backends. */
@TestInstance(TestInstance.Lifecycle.PER_CLASS)
abstract class ContractTest {

  protected Stream<Device> backends() {
    return CpuBackends.candidates().stream();
  }

  static TwoSides sides(Device candidate, long seed) {
    return new TwoSides(CpuBackends.oracle(), candidate, seed);
  }
}
