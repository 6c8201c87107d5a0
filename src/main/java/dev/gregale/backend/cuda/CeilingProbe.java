package dev.gregale.backend.cuda;

import dev.gregale.backend.Ceilings;
import dev.gregale.backend.Kernels;
import dev.gregale.backend.WeightRole;
import dev.gregale.tensor.DType;
import dev.gregale.tensor.Shape;
import java.util.Arrays;

/** Measures a GPU's ceilings with a stream of reads and one large product; frees what it takes. */
final class CeilingProbe {
  private static final int REPETITIONS = 11;
  private static final int IN_A_ROW = 4; // so that a launch's own time does not count
  private static final double WARM_UP_MILLIS = 100; // until clocks have risen
  private static final int STREAM_THREADS = 512;
  private static final int STREAM_BLOCKS = 4; // per multiprocessor
  private static final int PACKS_AHEAD = 8; // of a thread, 16 bytes each
  private static final int ROUNDS = 30; // 1 GB on an H100, whose L2 holds 5% of it
  private static final int WIDTH = 8192;
  private final CudaContext context;
  private final CudaMemory memory;
  private final KernelLauncher launcher;
  private final KernelModules modules;
  private final WeightUploader uploader;
  private final Kernels kernels;

  CeilingProbe(
      CudaContext context,
      CudaMemory memory,
      KernelLauncher launcher,
      KernelModules modules,
      WeightUploader uploader,
      Kernels kernels) {
    this.context = context;
    this.memory = memory;
    this.launcher = launcher;
    this.modules = modules;
    this.uploader = uploader;
    this.kernels = kernels;
  }

  Ceilings measure() {
    return new Ceilings(read(), matmul());
  }

  private double read() {
    KernelFunction function = modules.function("ceilings", "read_stream_u32");
    int blocks = STREAM_BLOCKS * context.device().numMultiprocessors();
    long packs = (long) ROUNDS * PACKS_AHEAD * STREAM_THREADS * blocks;
    Shape shape = Shape.of(packs, 16 / DType.BF16.bytes());
    CudaTensor data = uploader.dummy(WeightRole.EMBEDDING, shape, 1);
    DevicePointer sink = memory.allocate(Integer.BYTES, "a ceiling's sink");
    try {
      double seconds =
          median(
              () ->
                  launcher
                      .begin()
                      .add(sink.address())
                      .add(data)
                      .add(packs)
                      .launch(function, blocks, STREAM_THREADS));
      return 16.0 * packs / seconds;
    } finally {
      memory.free(data.pointer());
      memory.free(sink);
    }
  }

  private double matmul() {
    Shape square = Shape.of(WIDTH, WIDTH);
    CudaTensor weight = uploader.dummy(WeightRole.LINEAR, square, 2);
    CudaTensor x = uploader.dummy(WeightRole.EMBEDDING, square, 3);
    CudaTensor out =
        new CudaTensor(
            DType.BF16,
            square,
            WeightLayout.ROW_MAJOR,
            memory.allocate(square.numBytes(DType.BF16), "a ceiling's product"));
    try {
      double seconds = median(() -> kernels.matmul(out, x, weight, WIDTH));
      return 2.0 * WIDTH * WIDTH * WIDTH / seconds;
    } finally {
      memory.free(weight.pointer());
      memory.free(x.pointer());
      memory.free(out.pointer());
    }
  }

  /** Seconds of one run. */
  private double median(Runnable work) {
    double[] millis = new double[REPETITIONS];
    try (CudaTimeline timeline = new CudaTimeline(context)) {
      for (double warm = 0; warm < WARM_UP_MILLIS; ) {
        warm += timed(timeline, work);
      }
      for (int i = 0; i < REPETITIONS; i++) {
        millis[i] = timed(timeline, work);
      }
    }
    Arrays.sort(millis);
    return millis[REPETITIONS / 2] / 1e3 / IN_A_ROW;
  }

  private static double timed(CudaTimeline timeline, Runnable work) {
    timeline.clear();
    int from = timeline.mark();
    for (int i = 0; i < IN_A_ROW; i++) {
      work.run();
    }
    return timeline.millis(from, timeline.mark());
  }
}
