package dev.gregale.backend.cuda;

import dev.gregale.backend.WorkspaceLimits;
import dev.gregale.tensor.DType;

/**
 * Tiled experts on Hopper, any number of rows: pairs of (token, slot) are planned and gathered by
 * expert on the device ({@code expert_routing.cu}), two grouped products follow ({@code
 * expert_gemm.cu}), and a combine in slot order.
 */
final class WgmmaExperts implements ExpertKernel {
  private static final String ROUTING = "expert_routing";
  private static final String GEMM = "expert_gemm";
  private static final int MAX_EXPERTS = 372; // their counts fit static shared memory's limit
  private static final int PLAN_THREADS = 1024;
  private static final int PLAN_BYTES_PER_EXPERT = 132;
  private static final int ROW_THREADS = 256;
  private static final int TILE_GRAIN = 8;
  private final KernelLauncher launcher;
  private final Workspace workspace;
  private final int multiprocessors;
  private final KernelFunction plan;
  private final KernelFunction gather;
  private final KernelFunction gateUp;
  private final KernelFunction down;
  private final KernelFunction combineBf16;
  private final KernelFunction combineF32;

  WgmmaExperts(
      KernelLauncher launcher, KernelModules modules, Workspace workspace, int multiprocessors) {
    this.launcher = launcher;
    this.workspace = workspace;
    this.multiprocessors = multiprocessors / 2 * 2; // clusters of two
    plan = modules.function(ROUTING, "expert_plan_i32");
    gather = modules.function(ROUTING, "expert_gather_bf16");
    combineBf16 = modules.function(ROUTING, "expert_combine_bf16");
    combineF32 = modules.function(ROUTING, "expert_combine_f32");
    gateUp = modules.function(GEMM, "expert_gate_up_bf16", WgmmaMatmul.SHARED_BYTES);
    down = modules.function(GEMM, "expert_down_bf16", WgmmaMatmul.SHARED_BYTES);
  }

  @Override
  public boolean accepts(Call call) {
    return call.gateUp().layout() == WeightLayout.TILED
        && call.down().layout() == WeightLayout.TILED
        && call.numExperts() <= MAX_EXPERTS;
  }

  /** Where the scratch of a call lies. */
  private record Arrays(long plan, long pairRow, long rowPair, long tiles, long inner, long rows) {}

  private Arrays arrays(int pairs, int experts, int hidden, int intermediate) {
    int padded = padded(pairs, experts);
    long planBytes = TiledLayout.planBytes(experts);
    long plan = workspace.address(Workspace.Use.EXPERT_ORDER, planBytes + 4L * pairs + 4L * padded);
    return new Arrays(
        plan,
        plan + planBytes,
        plan + planBytes + 4L * pairs,
        workspace.address(Workspace.Use.EXPERT_TILES, TiledLayout.tokenBytes(padded, hidden)),
        workspace.address(Workspace.Use.EXPERT_INNER, TiledLayout.tokenBytes(padded, intermediate)),
        workspace.address(Workspace.Use.EXPERT_ANSWERS, 4L * padded * hidden));
  }

  private static int padded(int pairs, int experts) {
    return TiledLayout.maxPaddedRows(pairs, experts, TiledLayout.MAX_TOKEN_ROWS);
  }

  @Override
  public void reserve(WorkspaceLimits limits) {
    arrays(
        limits.tokens() * limits.expertsPerToken(),
        limits.numExperts(),
        limits.hidden(),
        limits.intermediate());
  }

  @Override
  public void launch(Call call) {
    int pairs = Math.multiplyExact(call.rows(), call.perToken());
    if (pairs == 0) {
      return;
    }
    int experts = call.numExperts();
    int hidden = call.hidden();
    Arrays a = arrays(pairs, experts, hidden, call.intermediate());
    planAndGather(call, a, pairs);
    int hiddenTiles = TiledLayout.kTiles(hidden);
    int innerTiles = TiledLayout.kTiles(call.intermediate());
    launcher
        .begin()
        .add(a.inner())
        .add(call.gateUp())
        .add(a.tiles())
        .add(a.plan())
        .add(experts)
        .add(innerTiles)
        .add(hiddenTiles)
        .launch(gateUp, multiprocessors, 1, 1, WgmmaMatmul.THREADS, WgmmaMatmul.SHARED_BYTES);
    launcher
        .begin()
        .add(a.rows())
        .add(call.down())
        .add(a.inner())
        .add(a.plan())
        .add(experts)
        .add(TiledLayout.nTiles(hidden))
        .add(innerTiles)
        .add(hidden)
        .launch(down, multiprocessors, 1, 1, WgmmaMatmul.THREADS, WgmmaMatmul.SHARED_BYTES);
    launcher
        .begin()
        .add(call.out())
        .add(a.rows())
        .add(a.pairRow())
        .add(call.expertWeights())
        .add(call.perToken())
        .add(hidden)
        .launch(
            call.out().dtype() == DType.F32 ? combineF32 : combineBf16, call.rows(), ROW_THREADS);
  }

  private void planAndGather(Call call, Arrays a, int pairs) {
    int experts = call.numExperts();
    launcher
        .begin()
        .add(a.plan())
        .add(a.pairRow())
        .add(a.rowPair())
        .add(call.expertIds())
        .add(pairs)
        .add(experts)
        .add(TiledLayout.MAX_TOKEN_ROWS)
        .launch(plan, experts, 1, 1, PLAN_THREADS, PLAN_BYTES_PER_EXPERT * experts);
    launcher
        .begin()
        .add(a.tiles())
        .add(call.x())
        .add(a.plan())
        .add(a.rowPair())
        .add(experts)
        .add(call.perToken())
        .add(call.hidden())
        .launch(
            gather,
            Math.ceilDiv(padded(pairs, experts), TILE_GRAIN),
            Math.ceilDiv(TiledLayout.kTiles(call.hidden()), TILE_GRAIN),
            1,
            ROW_THREADS,
            0);
  }
}
