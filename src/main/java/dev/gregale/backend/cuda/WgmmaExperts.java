package dev.gregale.backend.cuda;

import dev.gregale.backend.WorkspaceLimits;
import dev.gregale.tensor.DType;
import dev.gregale.tensor.InputScaling;
import java.util.Objects;

/**
 * Tiled experts on Hopper, any number of rows: pairs of (token, slot) are planned and gathered by
 * expert on the device ({@code expert_routing.cu}), two grouped products follow ({@code
 * expert_gemm.cu}, {@code expert_gemm_fp8.cu}), and a combine in slot order.
 */
final class WgmmaExperts implements ExpertKernel {
  private static final String ROUTING = "expert_routing";
  private static final String GEMM = "expert_gemm";
  private static final int MAX_EXPERTS = 372; // their counts fit static shared memory's limit
  private static final int PLAN_THREADS = 1024;
  private static final int PLAN_BYTES_PER_EXPERT = 132;
  private static final int ROW_THREADS = 256;
  private static final int TILE_GRAIN = 8;
  private final WgmmaTools tools;
  private final KernelLauncher launcher;
  private final KernelFunction plan;
  private final KernelFunction gather;
  private final GemmKernels gateUp;
  private final GemmKernels down;
  private final Combine combine;
  private final Combine combineBf16Rows;

  WgmmaExperts(WgmmaTools tools) {
    this.tools = tools;
    launcher = tools.launcher();
    KernelModules modules = tools.modules();
    plan = modules.function(ROUTING, "expert_plan_i32");
    gather = modules.function(ROUTING, "expert_gather_bf16");
    combine = Combine.of(modules, "");
    combineBf16Rows = Combine.of(modules, "_of_bf16");
    gateUp = tools.gemm(GEMM, "expert_gate_up_bf16", "expert_gate_up_%s");
    down = tools.gemm(GEMM, "expert_down_bf16", "expert_down_%s");
  }

  @Override
  public boolean accepts(Call call) {
    return call.gateUp().layout() == WeightLayout.TILED
        && call.down().layout() == WeightLayout.TILED
        && call.numExperts() <= MAX_EXPERTS;
  }

  /** Of rows of one type, by the type of what they become or are added to. */
  private record Combine(KernelFunction toBf16, KernelFunction toF32, KernelFunction addToF32) {

    static Combine of(KernelModules modules, String rows) {
      return new Combine(
          modules.function(ROUTING, "expert_combine_bf16" + rows),
          modules.function(ROUTING, "expert_combine_f32" + rows),
          modules.function(ROUTING, "expert_combine_add_f32" + rows));
    }

    KernelFunction into(DType out, boolean adds) {
      KernelFunction f32 = adds ? addToF32 : toF32;
      return out == DType.F32 ? f32 : toBf16;
    }
  }

  /** Where the scratch of a call lies. */
  private record Arrays(
      InputQuantizer.Routed routed,
      long pairRow,
      GemmKernels.Tokens x,
      long inner,
      GemmKernels.Tokens innerCodes,
      long rows) {}

  private Arrays arrays(int pairs, int experts, int hidden, int intermediate, int maxTileRows) {
    int padded = TiledLayout.maxPaddedRows(pairs, experts, maxTileRows);
    long planBytes = TiledLayout.planBytes(experts);
    long plan =
        tools.workspace().address(Workspace.Use.EXPERT_ORDER, planBytes + 4L * pairs + 4L * padded);
    long pairRow = plan + planBytes;
    return new Arrays(
        new InputQuantizer.Routed(plan, pairRow + 4L * pairs, experts, padded),
        pairRow,
        new GemmKernels.Tokens(
            tools
                .workspace()
                .address(Workspace.Use.EXPERT_TILES, TiledLayout.tokenBytes(padded, hidden)),
            tools
                .workspace()
                .address(Workspace.Use.EXPERT_SCALES, InputQuantizer.scaleBytes(padded, hidden))),
        tools
            .workspace()
            .address(Workspace.Use.EXPERT_INNER, TiledLayout.tokenBytes(padded, intermediate)),
        new GemmKernels.Tokens(
            tools
                .workspace()
                .address(Workspace.Use.INNER_CODES, InputQuantizer.codeBytes(padded, intermediate)),
            tools
                .workspace()
                .address(
                    Workspace.Use.INNER_SCALES, InputQuantizer.scaleBytes(padded, intermediate))),
        tools.workspace().address(Workspace.Use.EXPERT_ANSWERS, 4L * padded * hidden));
  }

  @Override
  public void reserve(WorkspaceLimits limits) {
    int pairs = limits.tokens() * limits.expertsPerToken();
    for (GemmKind kind : GemmKind.values()) {
      arrays(
          pairs, limits.numExperts(), limits.hidden(), limits.intermediate(), kind.maxTileRows());
    }
  }

  @Override
  public void launch(Call call) {
    launch(call, false);
  }

  @Override
  public boolean launchAdd(Call call) {
    launch(call, true);
    return true;
  }

  private void launch(Call call, boolean adds) {
    int pairs = Math.multiplyExact(call.rows(), call.perToken());
    if (pairs == 0) {
      return;
    }
    int hidden = call.hidden();
    GemmKind up = GemmKind.of(call.gateUp(), tools.mayQuantize());
    GemmKind back = GemmKind.of(call.down(), tools.mayQuantize());
    int maxTileRows = Math.min(up.maxTileRows(), back.maxTileRows());
    Arrays a = arrays(pairs, call.numExperts(), hidden, call.intermediate(), maxTileRows);
    plan(call, a, pairs, maxTileRows);
    gather(call, a, up);
    launcher.begin().add(a.inner());
    GemmKernels.addOperands(launcher, up, call.gateUp(), a.x());
    launcher
        .add(a.routed().plan())
        .add(call.numExperts())
        .add(TiledLayout.kTiles(call.intermediate()));
    GemmKernels.addTiles(launcher, up, call.gateUp(), hidden);
    gateUp.launch(launcher, up);
    GemmKernels.Tokens inner = inner(call, a, back);
    launcher.begin().add(a.rows());
    GemmKernels.addOperands(launcher, back, call.down(), inner);
    launcher.add(a.routed().plan()).add(call.numExperts()).add(TiledLayout.nTiles(hidden));
    GemmKernels.addTiles(launcher, back, call.down(), call.intermediate());
    launcher.add(hidden);
    down.launch(launcher, back);
    combine(call, a, back.isQuantizingInputs() ? combineBf16Rows : combine, adds);
  }

  private void combine(Call call, Arrays a, Combine combine, boolean adds) {
    launcher
        .begin()
        .add(call.out())
        .add(a.rows())
        .add(a.pairRow())
        .add(call.expertWeights())
        .add(call.perToken())
        .add(call.hidden())
        .launch(combine.into(call.out().dtype(), adds), call.rows(), ROW_THREADS);
  }

  private void plan(Call call, Arrays a, int pairs, int maxTileRows) {
    int experts = call.numExperts();
    launcher
        .begin()
        .add(a.routed().plan())
        .add(a.pairRow())
        .add(a.routed().rowPair())
        .add(call.expertIds())
        .add(pairs)
        .add(experts)
        .add(maxTileRows)
        .launch(plan, experts, 1, 1, PLAN_THREADS, PLAN_BYTES_PER_EXPERT * experts);
  }

  private void gather(Call call, Arrays a, GemmKind kind) {
    int hidden = call.hidden();
    if (kind.isQuantizingInputs()) {
      InputScaling inputs = Objects.requireNonNull(call.gateUp().inputs());
      tools
          .quantizer()
          .gather(a.x(), call.x().address(), a.routed(), call.perToken(), hidden, inputs);
      return;
    }
    long x = tools.rounder().rows(call.gateUp(), call.x(), call.rows(), hidden);
    launcher
        .begin()
        .add(a.x().tiles())
        .add(x)
        .add(a.routed().plan())
        .add(a.routed().rowPair())
        .add(call.numExperts())
        .add(call.perToken())
        .add(hidden)
        .launch(
            gather,
            Math.ceilDiv(a.routed().paddedRows(), TILE_GRAIN),
            Math.ceilDiv(TiledLayout.kTiles(hidden), TILE_GRAIN),
            1,
            ROW_THREADS,
            0);
  }

  /** What down multiplies: what gate_up left, or codes of it. */
  private GemmKernels.Tokens inner(Call call, Arrays a, GemmKind kind) {
    int tiles = TiledLayout.kTiles(call.intermediate());
    if (kind.isQuantizingInputs()) {
      InputScaling inputs = Objects.requireNonNull(call.down().inputs());
      tools.quantizer().tiles(a.innerCodes(), a.inner(), a.routed(), tiles, inputs);
      return a.innerCodes();
    }
    // A tile's 64 columns of a row are two blocks of MXFP8, swizzled or not; weights of other
    // recipes whose products are of bf16 do not lie in tiles.
    tools
        .rounder()
        .inPlace(call.down(), a.inner(), a.routed().paddedRows() * tiles, TiledLayout.TILE_K);
    return new GemmKernels.Tokens(a.inner(), 0);
  }
}
