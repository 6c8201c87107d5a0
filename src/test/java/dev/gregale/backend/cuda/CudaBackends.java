package dev.gregale.backend.cuda;

import dev.gregale.backend.AttentionShape;
import dev.gregale.backend.Backend;
import dev.gregale.backend.Device;
import dev.gregale.backend.parallel.ParallelBackend;
import dev.gregale.backend.parallel.RankLayout;
import java.util.List;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import jcuda.driver.JCudaDriver;

/** The GPU that tests run on. Whoever opens a backend closes it; JUnit does so with arguments. */
public final class CudaBackends {

  private CudaBackends() {}

  /** Whatever kernels are fastest for a size. */
  public static Device fastest() {
    return CudaBackend.open(0, false);
  }

  /** A row has the same bits in every batch. */
  public static Device deterministic() {
    return CudaBackend.open(0, true);
  }

  /** No kernel that is made for a shape or a GPU. */
  public static Device general() {
    return CudaBackend.open(0, KernelChoice.Mode.GENERAL);
  }

  /**
   * Ranks on GPUs of their own where there are enough, else all on the first.
   *
   * @param attention of the model
   */
  public static Backend ranks(
      int size, int expertGroups, AttentionShape attention, boolean deterministic) {
    CudaRanks ranks = CudaRanks.open(devices(size), deterministic, null);
    RankLayout layout = new RankLayout(size, expertGroups);
    return new ParallelBackend(ranks.backends(), ranks.collective(), layout, attention);
  }

  /** {@link #both}, and two ranks: every expert divided, and whole experts. */
  public static Stream<Backend> withRanks(AttentionShape attention) {
    return Stream.concat(
        both(), Stream.of(1, 2).map(groups -> ranks(2, groups, attention, groups == 1)));
  }

  /** One GPU, and two ranks: every expert divided, and whole experts. */
  public static Stream<Backend> deterministic(AttentionShape attention) {
    return Stream.of(0, 1, 2)
        .map(groups -> groups == 0 ? deterministic() : ranks(2, groups, attention, true));
  }

  static List<Integer> devices(int size) {
    int[] count = new int[1];
    JCudaDriver.cuInit(0);
    JCudaDriver.cuDeviceGetCount(count);
    return IntStream.range(0, size).map(rank -> count[0] < size ? 0 : rank).boxed().toList();
  }

  /** One after the other, so that two are never open at once. */
  public static Stream<Device> both() {
    return Stream.of(false, true).map(deterministic -> CudaBackend.open(0, deterministic));
  }
}
