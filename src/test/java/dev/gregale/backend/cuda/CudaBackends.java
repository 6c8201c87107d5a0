package dev.gregale.backend.cuda;

import dev.gregale.backend.Backend;
import java.util.List;

/** The GPU that tests run on, opened once in each mode. */
public final class CudaBackends {
  private static final Backend FASTEST = CudaBackend.open(0, false);
  private static final Backend DETERMINISTIC = CudaBackend.open(0, true);

  private CudaBackends() {}

  /** Whatever kernels are fastest for a size. */
  public static Backend fastest() {
    return FASTEST;
  }

  /** A row has the same bits in every batch. */
  public static Backend deterministic() {
    return DETERMINISTIC;
  }

  public static List<Backend> both() {
    return List.of(FASTEST, DETERMINISTIC);
  }
}
