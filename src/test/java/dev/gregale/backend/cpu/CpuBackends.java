package dev.gregale.backend.cpu;

import dev.gregale.backend.Backend;
import java.util.List;

/** The CPU backends that tests run on; shared, because each keeps threads until the JVM ends. */
public final class CpuBackends {
  private static final Backend ORACLE = CpuBackend.reference();
  private static final List<Backend> CANDIDATES =
      List.of(CpuBackend.create(1), CpuBackend.create(3));

  private CpuBackends() {}

  /** Plain loops. */
  public static Backend oracle() {
    return ORACLE;
  }

  /** What is held against the oracle: vector kernels on one thread, and on several. */
  public static List<Backend> candidates() {
    return CANDIDATES;
  }
}
