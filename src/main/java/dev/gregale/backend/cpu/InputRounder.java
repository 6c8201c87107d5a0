package dev.gregale.backend.cpu;

import static java.util.Objects.requireNonNull;

import dev.gregale.backend.SaturatedInputs;
import dev.gregale.quantization.InputQuantizer;
import dev.gregale.tensor.InputScaling;
import java.util.HashMap;
import java.util.Map;
import java.util.concurrent.atomic.LongAdder;
import org.jspecify.annotations.Nullable;

/** Rounds the inputs of a product as its quantised weight asks, each row for itself. */
final class InputRounder implements WorkerPool.Task {
  private static final int MIN_CHUNK_ELEMENTS = 8_192;

  private final WorkerPool pool;
  private final Map<InputScaling, InputQuantizer> quantizers = new HashMap<>();
  private final LongAdder attention = new LongAdder();
  private final LongAdder experts = new LongAdder();
  private float[] rounded = {};

  // The running rounding.
  private @Nullable InputQuantizer quantizer;
  private LongAdder cutOff = attention;
  private int times;
  private float[] from = {};
  private float[] to = {};
  private int rows;
  private int width;

  InputRounder(WorkerPool pool) {
    this.pool = pool;
  }

  /** What fixed scales have cut off so far. */
  SaturatedInputs saturated() {
    return new SaturatedInputs(attention.sum(), experts.sum());
  }

  /** The rows as they are to be multiplied by a projection, as {@link #expertInputs}. */
  float[] inputs(float[] x, PackedMatrix weight, int rows) {
    count(attention, 1);
    return rounded(x, weight, rows);
  }

  /**
   * The rows as they are to be multiplied by experts' weights: {@code x} itself, or an array that
   * the next call may overwrite.
   *
   * @param x {@code [rows, M]}
   * @param perRow experts that each row goes to
   */
  float[] expertInputs(float[] x, PackedMatrix weight, int rows, int perRow) {
    count(experts, perRow);
    return rounded(x, weight, rows);
  }

  private void count(LongAdder cutOff, int times) {
    this.cutOff = cutOff;
    this.times = times;
  }

  private float[] rounded(float[] x, PackedMatrix weight, int rows) {
    if (weight.inputs() == null) {
      return x;
    }
    int length = Math.multiplyExact(rows, weight.depth());
    if (rounded.length < length) {
      rounded = new float[length];
    }
    round(x, rounded, weight, rows);
    return rounded;
  }

  /** Rounds rows of experts in place, where the weight asks for it. */
  void roundInPlace(float[] x, PackedMatrix weight, int rows) {
    count(experts, 1);
    if (weight.inputs() != null) {
      round(x, x, weight, rows);
    }
  }

  private void round(float[] from, float[] to, PackedMatrix weight, int rows) {
    this.quantizer =
        quantizers.computeIfAbsent(requireNonNull(weight.inputs()), InputQuantizer::new);
    this.from = from;
    this.to = to;
    this.rows = rows;
    this.width = weight.depth();
    long chunks = (long) rows * width / MIN_CHUNK_ELEMENTS;
    pool.run(this, (int) Math.clamp(chunks, 1, 4L * pool.threads()));
  }

  @Override
  public void run(int chunk, int numChunks, int worker) {
    InputQuantizer quantizer = requireNonNull(this.quantizer);
    int end = (int) ((long) rows * (chunk + 1) / numChunks);
    long cut = 0;
    for (int row = (int) ((long) rows * chunk / numChunks); row < end; row++) {
      cut += quantizer.round(from, row * width, width, to, row * width);
    }
    if (cut > 0) {
      cutOff.add(cut * times);
    }
  }
}
