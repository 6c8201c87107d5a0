package dev.gregale.backend.cpu;

import static java.util.Objects.requireNonNull;

import dev.gregale.backend.WeightRole;
import dev.gregale.quantization.InputQuantizer;
import dev.gregale.tensor.InputScaling;
import java.util.EnumMap;
import java.util.HashMap;
import java.util.Map;
import java.util.concurrent.atomic.LongAdder;
import org.jspecify.annotations.Nullable;

/** Rounds the inputs of a product as its quantised weight asks, each row for itself. */
final class InputRounder implements WorkerPool.Task {
  private static final int MIN_CHUNK_ELEMENTS = 8_192;

  private final WorkerPool pool;
  private final Map<InputScaling, InputQuantizer> quantizers = new HashMap<>();
  private final Map<WeightRole, LongAdder> saturated = new EnumMap<>(WeightRole.class);
  private float[] rounded = {};

  // The running rounding.
  private @Nullable InputQuantizer quantizer;
  private LongAdder cutOff = new LongAdder();
  private float[] from = {};
  private float[] to = {};
  private int rows;
  private int width;

  InputRounder(WorkerPool pool) {
    this.pool = pool;
    for (WeightRole role : WeightRole.values()) {
      saturated.put(role, new LongAdder());
    }
  }

  /** Values that a fixed scale has cut off so far, of inputs of weights of that role. */
  long saturated(WeightRole role) {
    return requireNonNull(saturated.get(role)).sum();
  }

  /**
   * The rows as they are to be multiplied: {@code x} itself, or an array that the next call may
   * overwrite.
   *
   * @param x {@code [rows, M]}
   */
  float[] inputs(float[] x, PackedMatrix weight, WeightRole role, int rows) {
    if (weight.inputs() == null) {
      return x;
    }
    int length = Math.multiplyExact(rows, weight.depth());
    if (rounded.length < length) {
      rounded = new float[length];
    }
    round(x, rounded, weight, role, rows);
    return rounded;
  }

  /** Rounds rows in place, where the weight asks for it. */
  void roundInPlace(float[] x, PackedMatrix weight, WeightRole role, int rows) {
    if (weight.inputs() != null) {
      round(x, x, weight, role, rows);
    }
  }

  private void round(float[] from, float[] to, PackedMatrix weight, WeightRole role, int rows) {
    this.cutOff = requireNonNull(saturated.get(role));
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
      cutOff.add(cut);
    }
  }
}
