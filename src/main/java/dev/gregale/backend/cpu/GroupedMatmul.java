package dev.gregale.backend.cpu;

import static dev.gregale.backend.cpu.PackedMatrix.PANEL;
import static dev.gregale.backend.cpu.VectorMath.FLOATS;
import static dev.gregale.backend.cpu.VectorMath.LANES;
import static java.util.Objects.requireNonNull;

import dev.gregale.tensor.DType;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import java.util.stream.IntStream;
import jdk.incubator.vector.FloatVector;
import org.jspecify.annotations.Nullable;

/**
 * Rows times packed matrices, where the rows come in groups and each group has its own matrix: one
 * group for a projection, one per expert for a feed-forward.
 *
 * <p>The work is cut into units of one panel times some rows of one group. A unit takes the inputs
 * in slabs whose weights stay in the level 1 cache while all its rows pass by, and keeps its sums
 * in scratch between slabs, which changes no bit of them.
 */
final class GroupedMatmul implements WorkerPool.Task {
  /** Rows of the largest tile whose sums fit the registers: 16 vectors of 32, or 8 of 16. */
  private static final int TILE_ROWS = LANES == 8 ? 2 : 4;

  private static final int MAX_UNIT_ROWS = 256;
  private static final int MIN_UNIT_ROWS = 32;
  private static final int SLAB_BYTES = 32 << 10;
  private static final int CHUNKS_PER_THREAD = 6;

  /** Multiply-adds below which a chunk costs less than handing it over: some 2 microseconds. */
  private static final long MIN_CHUNK_WORK = 200_000;

  /** What reading a panel costs beside multiplying rows by it, in rows. */
  private static final int PANEL_COST = 3;

  private final WorkerPool pool;
  private final float[][] scratch; // per thread: sums of [MAX_UNIT_ROWS, 4 L]
  private final MemorySegment[] widened; // per thread: a slab of fp32 weights, from codes
  private final int[] oneGroup = new int[1];
  private int[] identity = {};

  // The running product; fields and not a record, so that an op allocates nothing.
  private @Nullable PackedMatrix matrices;
  private float[] x = {};
  private int[] inputRows = {};
  private int[] groupEnds = {};
  private float[] out = {};
  private int unitRows;
  private long totalCost;

  GroupedMatmul(WorkerPool pool) {
    this.pool = pool;
    this.scratch = new float[pool.threads()][MAX_UNIT_ROWS * PANEL];
    this.widened = new MemorySegment[pool.threads()];
    Arrays.setAll(widened, i -> Arena.ofAuto().allocate(SLAB_BYTES, 64));
  }

  /** 0, 1, 2 ...: at least that many. */
  int[] identity(int count) {
    if (identity.length < count) {
      identity = IntStream.range(0, 2 * count).toArray();
    }
    return identity;
  }

  /** out = x * weight^T: {@code [rows, N]} from {@code [rows, M]}. */
  void multiply(float[] out, float[] x, PackedMatrix weight, int rows) {
    oneGroup[0] = rows;
    multiply(out, x, identity(rows), weight, oneGroup);
  }

  /**
   * out[i] = x[inputRows[i]] * weight[group of i]^T; of a gate-up matrix, silu(gate) * up. Rows of
   * a group follow each other: group g ends before row {@code groupEnds[g]}.
   *
   * @param out {@code [rows, N]}, or {@code [rows, N / 2]} of a gate-up matrix
   * @param x {@code [any, M]}
   * @param groupEnds one for each matrix
   */
  void multiply(float[] out, float[] x, int[] inputRows, PackedMatrix weight, int[] groupEnds) {
    this.out = out;
    this.x = x;
    this.inputRows = inputRows;
    this.matrices = weight;
    this.groupEnds = groupEnds;
    int rows = groupEnds[weight.numMatrices() - 1];
    long rowPanels = (long) rows * weight.panels();
    long evenly = rowPanels / (8L * pool.threads()) / 4 * 4;
    unitRows = Math.clamp(evenly, MIN_UNIT_ROWS, MAX_UNIT_ROWS);
    totalCost = 0;
    int units = 0;
    int start = 0;
    for (int group = 0; group < weight.numMatrices(); group++) {
      int groupRows = groupEnds[group] - start;
      units += units(groupRows, weight);
      totalCost += (long) units(groupRows, weight) * unitCost(groupRows);
      start = groupEnds[group];
    }
    long worthwhile = totalCost * weight.depth() * PANEL / MIN_CHUNK_WORK;
    long most = Math.min(units, (long) CHUNKS_PER_THREAD * pool.threads());
    if (units > 0) {
      pool.run(this, (int) Math.clamp(worthwhile, 1, most));
    }
  }

  private int units(int groupRows, PackedMatrix weight) {
    return (groupRows + unitRows - 1) / unitRows * weight.panels();
  }

  private int unitCost(int groupRows) {
    return Math.min(groupRows, unitRows) + PANEL_COST;
  }

  /** Runs the units whose start, in cost, falls into this chunk's share. */
  @Override
  public void run(int chunk, int numChunks, int worker) {
    PackedMatrix weight = requireNonNull(matrices);
    long from = totalCost * chunk / numChunks;
    long to = totalCost * (chunk + 1) / numChunks;
    long base = 0;
    int start = 0;
    for (int group = 0; group < weight.numMatrices() && base < to; group++) {
      int end = groupEnds[group];
      int units = units(end - start, weight);
      int cost = unitCost(end - start);
      int first = (int) Math.min(units, Math.ceilDiv(Math.max(0, from - base), cost));
      int last = (int) Math.min(units, Math.ceilDiv(to - base, cost));
      int blocks = units / weight.panels();
      for (int unit = first; unit < last; unit++) {
        int row = start + unit % blocks * unitRows;
        runUnit(weight, group, unit / blocks, row, Math.min(end, row + unitRows), worker);
      }
      base += (long) units * cost;
      start = end;
    }
  }

  private void runUnit(PackedMatrix weight, int group, int panel, int row, int endRow, int worker) {
    boolean coded = weight.dtype() == DType.F8_E4M3;
    int stride = coded ? PANEL * Float.BYTES : weight.bytesPerInput();
    boolean single = !coded && endRow - row <= TILE_ROWS;
    int slab = single ? weight.depth() : SLAB_BYTES / stride;
    MemorySegment w = coded ? widened[worker] : weight.data();
    float[] sums = scratch[worker];
    for (int from = 0; from < weight.depth(); from += slab) {
      int depth = Math.min(slab, weight.depth() - from);
      long at = coded ? 0 : weight.panelStart(group, panel) + (long) from * stride;
      if (coded) {
        CodedPanels.widen(weight, group, panel, from, depth, w);
      }
      for (int r = row; r < endRow; r += TILE_ROWS) {
        int count = Math.min(TILE_ROWS, endRow - r);
        runTile(weight, w, at, r, count, from, depth, sums, (r - row) * PANEL);
      }
    }
    for (int r = row; r < endRow; r++) {
      int at = (r - row) * PANEL;
      if (weight.isGateUp()) {
        activate(sums, at);
        store(sums, at, r, weight.rows() / 2, panel * (PANEL / 2), PANEL / 2);
      } else {
        store(sums, at, r, weight.rows(), panel * PANEL, PANEL);
      }
    }
  }

  /** Three rows run as four, the last one twice: the sums have room for it. */
  private void runTile(
      PackedMatrix weight,
      MemorySegment w,
      long at,
      int row,
      int count,
      int from,
      int depth,
      float[] sums,
      int to) {
    boolean add = from > 0;
    int x0 = inputStart(row, weight, from);
    int x1 = inputStart(row + Math.min(1, count - 1), weight, from);
    boolean bf16 = weight.dtype() == DType.BF16;
    if (count > 2) {
      int x2 = inputStart(row + 2, weight, from);
      int x3 = inputStart(row + count - 1, weight, from);
      if (bf16) {
        Bf16Tiles.multiply4(w, at, x, x0, x1, x2, x3, depth, sums, to, add);
      } else {
        F32Tiles.multiply4(w, at, x, x0, x1, x2, x3, depth, sums, to, add);
      }
    } else if (count == 2) {
      if (bf16) {
        Bf16Tiles.multiply2(w, at, x, x0, x1, depth, sums, to, add);
      } else {
        F32Tiles.multiply2(w, at, x, x0, x1, depth, sums, to, add);
      }
    } else if (bf16) {
      Bf16Tiles.multiply1(w, at, x, x0, depth, sums, to, add);
    } else {
      F32Tiles.multiply1(w, at, x, x0, depth, sums, to, add);
    }
  }

  private int inputStart(int row, PackedMatrix weight, int from) {
    return inputRows[row] * weight.depth() + from;
  }

  /** The first half of a panel's sums becomes silu of itself times the second half. */
  private static void activate(float[] sums, int at) {
    for (int i = at; i < at + PANEL / 2; i += LANES) {
      FloatVector gate = FloatVector.fromArray(FLOATS, sums, i);
      FloatVector up = FloatVector.fromArray(FLOATS, sums, i + PANEL / 2);
      gate.div(VectorMath.exp(gate.neg()).add(1f)).mul(up).intoArray(sums, i);
    }
  }

  private void store(float[] sums, int at, int row, int width, int column, int count) {
    System.arraycopy(sums, at, out, row * width + column, Math.min(count, width - column));
  }
}
