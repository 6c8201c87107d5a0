package dev.gregale.backend.cuda;

import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.util.List;
import java.util.concurrent.FutureTask;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;

/**
 * NVIDIA's library for messages between GPUs, where there is one: it is no part of the driver. One
 * thread drives all ranks. NVLink multicast is off unless the environment asks for it
 * (NCCL_NVLS_ENABLE).
 */
final class Nccl implements AutoCloseable {
  /** By which the loader finds it. */
  static final String LIBRARY = "libnccl.so.2";

  private static final int FLOAT32 = 7; // ncclDataType_t
  private static final int SUM = 0; // ncclRedOp_t
  private static final int CONNECT_SECONDS = 120; // loading its kernels alone takes seconds
  private static final String NVLS = "NCCL_NVLS_ENABLE";

  private final String library;
  private final MethodHandle allReduce;
  private final MethodHandle groupStart;
  private final MethodHandle groupEnd;
  private final MethodHandle getAsyncError;
  private final MethodHandle destroy;
  private final MethodHandle errorString;
  private final MemorySegment communicators;
  private final int size;
  private final MemorySegment asyncError = Arena.global().allocate(ValueLayout.JAVA_INT);

  private Nccl(String name, SymbolLookup symbols, List<Integer> ordinals) {
    library = name;
    allReduce =
        function(
            symbols,
            "ncclAllReduce",
            ValueLayout.JAVA_LONG,
            ValueLayout.JAVA_LONG,
            ValueLayout.JAVA_LONG,
            ValueLayout.JAVA_INT,
            ValueLayout.JAVA_INT,
            ValueLayout.ADDRESS,
            ValueLayout.JAVA_LONG);
    groupStart = function(symbols, "ncclGroupStart");
    groupEnd = function(symbols, "ncclGroupEnd");
    getAsyncError =
        function(symbols, "ncclCommGetAsyncError", ValueLayout.ADDRESS, ValueLayout.ADDRESS);
    destroy = function(symbols, "ncclCommDestroy", ValueLayout.ADDRESS);
    errorString =
        Linker.nativeLinker()
            .downcallHandle(
                find(symbols, "ncclGetErrorString"),
                FunctionDescriptor.of(
                    ValueLayout.ADDRESS.withTargetLayout(
                        MemoryLayout.sequenceLayout(256, ValueLayout.JAVA_BYTE)),
                    ValueLayout.JAVA_INT));
    size = ordinals.size();
    communicators = Arena.global().allocate(ValueLayout.ADDRESS, size);
    int[] devices = ordinals.stream().mapToInt(Integer::intValue).toArray();
    MethodHandle init =
        function(
            symbols,
            "ncclCommInitAll",
            ValueLayout.ADDRESS,
            ValueLayout.JAVA_INT,
            ValueLayout.ADDRESS);
    connect(init, Arena.global().allocateFrom(ValueLayout.JAVA_INT, devices));
  }

  /** By a thread of its own: NCCL waits without end for a GPU that does not answer. */
  private void connect(MethodHandle init, MemorySegment devices) {
    FutureTask<Integer> connecting = new FutureTask<>(() -> initAll(init, devices));
    Thread.ofPlatform().daemon().name("nccl-connect").start(connecting);
    try {
      check(connecting.get(CONNECT_SECONDS, TimeUnit.SECONDS), "ncclCommInitAll");
    } catch (TimeoutException e) {
      throw new RankFailureException(
          "ncclCommInitAll of %s did not end within %d s".formatted(library, CONNECT_SECONDS));
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new RankFailureException("interrupted while %s connected GPUs".formatted(library));
    } catch (RuntimeException e) {
      throw e;
    } catch (Throwable e) {
      throw failed(e);
    }
  }

  private int initAll(MethodHandle init, MemorySegment devices) {
    try {
      return (int) init.invoke(communicators, size, devices);
    } catch (Throwable e) {
      throw failed(e);
    }
  }

  /**
   * Loads the library and connects the GPUs.
   *
   * @throws CudaUnavailableException if it is not there or does not connect them
   */
  static Nccl open(String library, List<Integer> ordinals) {
    leaveMulticastOff();
    try {
      return new Nccl(library, SymbolLookup.libraryLookup(library, Arena.global()), ordinals);
    } catch (IllegalArgumentException e) {
      throw new CudaUnavailableException(
          "NCCL's %s was not found".formatted(library),
          "install it (libnccl2), or name the file in gregale.engine.nccl-library",
          e);
    } catch (CudaErrorException | RankFailureException e) {
      throw new CudaUnavailableException(
          String.valueOf(e.getMessage()), "see what NCCL_DEBUG=INFO says", e);
    }
  }

  /** The library reads it when it is first used. */
  private static void leaveMulticastOff() {
    Linker linker = Linker.nativeLinker();
    MethodHandle setenv =
        linker.downcallHandle(
            linker.defaultLookup().find("setenv").orElseThrow(),
            FunctionDescriptor.of(
                ValueLayout.JAVA_INT,
                ValueLayout.ADDRESS,
                ValueLayout.ADDRESS,
                ValueLayout.JAVA_INT));
    try (Arena arena = Arena.ofConfined()) {
      int unused =
          (int)
              setenv.invoke(arena.allocateFrom(NVLS), arena.allocateFrom("0"), /* overwrite= */ 0);
    } catch (Throwable e) {
      throw new IllegalStateException("setenv failed", e);
    }
  }

  private static MemorySegment find(SymbolLookup symbols, String name) {
    return symbols
        .find(name)
        .orElseThrow(
            () ->
                new CudaUnavailableException(
                    "NCCL's library has no " + name, "take NCCL 2.4 or later"));
  }

  private static MethodHandle function(
      SymbolLookup symbols, String name, ValueLayout... parameters) {
    return Linker.nativeLinker()
        .downcallHandle(
            find(symbols, name), FunctionDescriptor.of(ValueLayout.JAVA_INT, parameters));
  }

  /**
   * Queues the sum of all ranks' arrays, for all of them.
   *
   * @param parts addresses of fp32 arrays, one on each rank
   * @param sums of where the sum goes, on each rank; may be the parts
   * @param count elements
   * @param streams handles, one of each rank
   */
  void allReduce(long[] parts, long[] sums, long count, long[] streams) {
    try {
      check((int) groupStart.invoke(), "ncclGroupStart");
      for (int rank = 0; rank < size; rank++) {
        check(
            (int)
                allReduce.invoke(
                    parts[rank],
                    sums[rank],
                    count,
                    FLOAT32,
                    SUM,
                    communicator(rank),
                    streams[rank]),
            "ncclAllReduce");
      }
      check((int) groupEnd.invoke(), "ncclGroupEnd");
    } catch (RuntimeException e) {
      throw e;
    } catch (Throwable e) {
      throw failed(e);
    }
  }

  private MemorySegment communicator(int rank) {
    return communicators.getAtIndex(ValueLayout.ADDRESS, rank);
  }

  /**
   * @throws RankFailureException if what was queued has failed since
   */
  void requireHealthy() {
    try {
      for (int rank = 0; rank < size; rank++) {
        check((int) getAsyncError.invoke(communicator(rank), asyncError), "ncclCommGetAsyncError");
        check(asyncError.get(ValueLayout.JAVA_INT, 0), "a sum of rank " + rank);
      }
    } catch (RuntimeException e) {
      throw e;
    } catch (Throwable e) {
      throw failed(e);
    }
  }

  /** Waits until no recorded step refers to the communicators, so those are to be dropped first. */
  @Override
  public void close() {
    try {
      for (int rank = 0; rank < size; rank++) {
        int unused = (int) destroy.invoke(communicator(rank)); // after a fault nothing can be done
      }
    } catch (Throwable e) {
      throw failed(e);
    }
  }

  private void check(int code, String what) throws Throwable {
    if (code != 0) {
      String why = ((MemorySegment) errorString.invoke(code)).getString(0);
      throw new RankFailureException("%s of %s: %s".formatted(what, library, why));
    }
  }

  private IllegalStateException failed(Throwable e) {
    return new IllegalStateException("a downcall into " + library + " failed", e);
  }
}
