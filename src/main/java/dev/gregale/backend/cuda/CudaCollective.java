package dev.gregale.backend.cuda;

import static dev.gregale.backend.cuda.CudaErrorException.check;

import dev.gregale.backend.Collective;
import dev.gregale.backend.Tensor;
import dev.gregale.tensor.DType;
import dev.gregale.tensor.Shape;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import java.time.Duration;
import java.util.List;
import jcuda.Pointer;
import jcuda.driver.JCudaDriver;
import org.jspecify.annotations.Nullable;

/**
 * Sums over GPUs that write to each other's memory, {@code all_reduce.cu}: short messages in one
 * go, long ones in two, all within a recorded step. Where the GPUs do not reach each other, and for
 * long messages where that was asked for, NCCL.
 */
final class CudaCollective implements Collective {
  static final int MAX_RANKS = 8; // the figures below are all_reduce.cu's
  private static final int MAX_BLOCKS = 32;
  private static final int THREADS = 512;
  private static final int FLOAT4_BYTES = 16;
  private static final int AREA_FLOAT4S = 2048;
  private static final int STATE_BYTES = 4 * (3 * MAX_RANKS * MAX_BLOCKS + MAX_BLOCKS + 1);
  private static final int PEERS_FIELDS = 3 * MAX_RANKS + 1;

  /** Bytes that all ranks' messages to one of them may have, to be sent in one go. */
  private static final long PUSH_BYTES = (long) MAX_BLOCKS * AREA_FLOAT4S * FLOAT4_BYTES;

  private final List<CudaBackend> ranks;
  private final List<CudaRank> devices;
  private final boolean reachable;
  private final @Nullable Nccl nccl;
  private final Duration timeout;
  private final List<Rank> state;
  private final MemorySegment missing;
  private List<CudaTensor> parts = List.of();

  /** What one rank has for it. */
  private record Rank(
      DevicePointer inbox,
      DevicePointer state,
      DevicePointer peers,
      KernelFunction push,
      KernelFunction pull,
      KernelFunction addAndClear) {}

  /**
   * @param reachable whether all ranks reach each other's memory
   * @param nccl needed where they do not
   * @param timeout after which a rank that waits for another gives up
   */
  CudaCollective(
      List<CudaBackend> ranks, boolean reachable, @Nullable Nccl nccl, Duration timeout) {
    this.ranks = ranks;
    devices = ranks.stream().map(CudaBackend::asRank).toList();
    this.reachable = reachable;
    this.nccl = nccl;
    this.timeout = timeout;
    state = devices.stream().map(device -> rank(device, ranks.size())).toList();
    Pointer pinned = new Pointer();
    int portable = JCudaDriver.CU_MEMHOSTALLOC_PORTABLE | JCudaDriver.CU_MEMHOSTALLOC_DEVICEMAP;
    check(JCudaDriver.cuMemHostAlloc(pinned, Integer.BYTES, portable), "page-locked memory");
    missing =
        MemorySegment.ofBuffer(
            pinned.getByteBuffer(0, Integer.BYTES).order(ByteOrder.nativeOrder()));
    missing.set(ValueLayout.JAVA_INT, 0, 0);
    devices.forEach(CudaCollective::settle);
  }

  private static Rank rank(CudaRank device, int size) {
    device.context().enter();
    CudaMemory memory = device.memory();
    KernelModules modules = device.modules();
    return new Rank(
        memory.allocateZeroed(2L * size * PUSH_BYTES, "the other ranks' messages"),
        memory.allocateZeroed(STATE_BYTES, "the ranks' flags"),
        memory.allocateZeroed((long) PEERS_FIELDS * Long.BYTES, "the ranks' addresses"),
        modules.function("all_reduce", "all_reduce_push_f32"),
        modules.function("all_reduce", "all_reduce_pull_f32"),
        modules.function("all_reduce", "add_and_clear_f32"));
  }

  /** No other rank may come before this one's memory is zero. */
  private static void settle(CudaRank device) {
    device.context().enter();
    device.context().synchronize();
  }

  @Override
  public List<Tensor> allocateParts(Shape shape) {
    if (parts.isEmpty() || !parts.getFirst().shape().equals(shape)) {
      if (shape.dim(1) % 4 != 0) {
        throw new CudaUnavailableException(
            "a hidden size of %d on several GPUs".formatted(shape.dim(1)),
            "take a model whose hidden size is a multiple of 4, or one GPU");
      }
      parts = ranks.stream().map(rank -> CudaTensor.of(rank.allocate(DType.F32, shape))).toList();
      for (int r = 0; r < ranks.size(); r++) {
        writePeers(r);
      }
    }
    return List.copyOf(parts);
  }

  /** struct Peers of all_reduce.cu. */
  private void writePeers(int rank) {
    long[] fields = new long[PEERS_FIELDS];
    for (int peer = 0; peer < ranks.size(); peer++) {
      fields[peer] = state.get(peer).inbox().address();
      fields[MAX_RANKS + peer] = parts.get(peer).address();
      fields[2 * MAX_RANKS + peer] = state.get(peer).state().address();
    }
    fields[3 * MAX_RANKS] = missing.address();
    settle(devices.get(rank));
    check(
        JCudaDriver.cuMemcpyHtoD(
            state.get(rank).peers(), Pointer.to(fields), (long) PEERS_FIELDS * Long.BYTES),
        "telling a rank of the others");
  }

  @Override
  public void addUp(List<Tensor> residuals, int rows) {
    int count4 = rows * parts.getFirst().shape().intDim(1) / 4;
    boolean isShort = (long) count4 * FLOAT4_BYTES * (ranks.size() - 1) <= PUSH_BYTES;
    if (reachable && (isShort || nccl == null)) {
      for (int rank = 0; rank < ranks.size(); rank++) {
        launch(rank, CudaTensor.of(residuals.get(rank)), count4, isShort);
      }
    } else if (nccl != null) {
      reduceByNccl(nccl, residuals, count4);
    }
  }

  /**
   * One rank's share of a sum, which waits for all others'.
   *
   * @param count4 elements by four
   */
  void launch(int rank, CudaTensor residual, int count4, boolean isShort) {
    Rank own = state.get(rank);
    int blocks = Math.clamp(Math.ceilDiv(count4, THREADS), 1, MAX_BLOCKS);
    KernelLauncher launcher =
        launcher(rank)
            .begin()
            .add(residual)
            .add(own.peers().address())
            .add(rank)
            .add(ranks.size())
            .add(count4);
    if (isShort) {
      launcher.add(Math.ceilDiv(count4, blocks));
    }
    launcher
        .add(timeout.toNanos())
        .overlapping()
        .launch(isShort ? own.push() : own.pull(), blocks, THREADS);
  }

  private KernelLauncher launcher(int rank) {
    devices.get(rank).context().enter();
    return devices.get(rank).launcher();
  }

  private void reduceByNccl(Nccl library, List<Tensor> residuals, int count4) {
    long[] addresses = parts.stream().mapToLong(CudaTensor::address).toArray();
    library.allReduce(
        addresses,
        addresses,
        4L * count4,
        devices.stream().mapToLong(device -> device.context().streamHandle()).toArray());
    for (int rank = 0; rank < ranks.size(); rank++) {
      launcher(rank)
          .begin()
          .add(CudaTensor.of(residuals.get(rank)))
          .add(parts.get(rank))
          .add(count4)
          .launch(state.get(rank).addAndClear(), Math.ceilDiv(count4, THREADS), THREADS);
    }
  }

  @Override
  public void requireHealthy() {
    try {
      requireAllCame();
      if (nccl != null) {
        nccl.requireHealthy();
      }
    } catch (RankFailureException e) {
      devices.getFirst().context().giveUp();
      throw e;
    }
  }

  private void requireAllCame() {
    int rank = missing.get(ValueLayout.JAVA_INT, 0) - 1;
    if (rank >= 0) {
      throw new RankFailureException(
          "rank %d, on %s, did not come to a sum within %d ms"
              .formatted(rank, ranks.get(rank).description(), timeout.toMillis()));
    }
  }

  @Override
  public boolean sharesMemory() {
    return false;
  }

  /** For a rank that is lost NCCL would wait without end. */
  @Override
  public void close() {
    if (nccl != null && !devices.getFirst().context().isLost()) {
      nccl.close();
    }
  }
}
