package dev.gregale.backend.cpu;

import dev.gregale.backend.Backend;
import java.util.List;

/** The CPU backends that tests run on. */
public final class CpuBackends {

  private CpuBackends() {}

  /** Plain loops. */
  public static Backend oracle() {
    return CpuBackend.reference();
  }

  /** What is held against the oracle. */
  public static List<Backend> candidates() {
    return List.of(CpuBackend.create(1), CpuBackend.create(3));
  }
}
