package dev.gregale.backend.cuda;

import dev.gregale.backend.Backend;
import java.util.stream.Stream;

/** The GPU that tests run on. Whoever opens a backend closes it; JUnit does so with arguments. */
public final class CudaBackends {

  private CudaBackends() {}

  /** Whatever kernels are fastest for a size. */
  public static Backend fastest() {
    return CudaBackend.open(0, false);
  }

  /** A row has the same bits in every batch. */
  public static Backend deterministic() {
    return CudaBackend.open(0, true);
  }

  /** No kernel that is made for a shape or a GPU. */
  public static Backend general() {
    return CudaBackend.open(0, KernelChoice.Mode.GENERAL);
  }

  /** One after the other, so that two are never open at once. */
  public static Stream<Backend> both() {
    return Stream.of(false, true).map(deterministic -> CudaBackend.open(0, deterministic));
  }
}
