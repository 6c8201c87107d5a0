package dev.gregale.backend.cpu;

import dev.gregale.backend.Device;
import java.util.List;

/** The CPU backends that tests run on. JUnit closes those that are a test's arguments. */
public final class CpuBackends {

  private CpuBackends() {}

  /** Plain loops. */
  public static Device oracle() {
    return CpuBackend.reference();
  }

  /** Vector kernels on all processors. */
  public static Device fastest() {
    return CpuBackend.create(Runtime.getRuntime().availableProcessors());
  }

  /** What is held against the oracle: vector kernels on one thread, and on several. */
  public static List<Device> candidates() {
    return List.of(CpuBackend.create(1), CpuBackend.create(3));
  }
}
