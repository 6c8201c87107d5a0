package dev.gregale.backend.cuda;

import dev.gregale.backend.WorkspaceLimits;
import dev.gregale.tensor.DType;

/**
 * Any shape on any GPU: {@code expert_feed_forward.cu}. Pairs of (token, slot) are sorted by expert
 * on the device, two grouped products follow, and a combine in slot order.
 */
final class GeneralExperts implements ExpertKernel {
  private static final String SOURCE = "expert_feed_forward";
  private static final int SORT_THREADS = 1024;
  private static final int MAX_EXPERTS = 1024;
  private static final int COMBINE_THREADS = 256;
  private final KernelLauncher launcher;
  private final Workspace workspace;
  private final InputRounder rounder;
  private final KernelFunction sort;
  private final KernelFunction[] gateUp = new KernelFunction[3];
  private final KernelFunction[] down = new KernelFunction[3];
  private final KernelFunction combine;

  GeneralExperts(
      KernelLauncher launcher, KernelModules modules, Workspace workspace, InputRounder rounder) {
    this.launcher = launcher;
    this.workspace = workspace;
    this.rounder = rounder;
    sort = modules.function(SOURCE, "expert_sort");
    Tile[] tiles = {Tile.SMALL, Tile.MEDIUM, Tile.LARGE};
    for (int i = 0; i < tiles.length; i++) {
      String suffix = tiles[i].suffix();
      int shared = tiles[i].sharedBytes();
      gateUp[i] = modules.function(SOURCE, "expert_gate_up_bf16_" + suffix, shared);
      down[i] = modules.function(SOURCE, "expert_down_bf16_" + suffix, shared);
    }
    combine = modules.function(SOURCE, "expert_combine_bf16");
  }

  @Override
  public boolean accepts(Call call) {
    return call.gateUp().layout() == WeightLayout.ROW_MAJOR && call.numExperts() <= MAX_EXPERTS;
  }

  @Override
  public void reserve(WorkspaceLimits limits) {
    long pairs = (long) limits.tokens() * limits.expertsPerToken();
    order(limits.numExperts(), pairs);
    inner(pairs, limits.intermediate());
    answers(pairs, limits.hidden());
  }

  private long order(int numExperts, long pairs) {
    return workspace.address(Workspace.Use.EXPERT_ORDER, 4 * (numExperts + 1 + 2 * pairs));
  }

  private long inner(long pairs, int intermediate) {
    return workspace.address(Workspace.Use.EXPERT_INNER, 2 * pairs * intermediate);
  }

  private long answers(long pairs, int hidden) {
    return workspace.address(Workspace.Use.EXPERT_ANSWERS, 4 * pairs * hidden);
  }

  @Override
  public void launch(Call call) {
    int pairs = Math.multiplyExact(call.rows(), call.perToken());
    int experts = call.numExperts();
    long offsets = order(experts, pairs);
    long sorted = offsets + 4L * (experts + 1);
    long place = sorted + 4L * pairs;
    long inner = inner(pairs, call.intermediate());
    long answers = answers(pairs, call.hidden());
    long x = rounder.rows(call.gateUp(), call.x(), call.rows(), call.hidden());
    launcher
        .begin()
        .add(offsets)
        .add(sorted)
        .add(place)
        .add(call.expertIds())
        .add(pairs)
        .add(experts)
        .launch(sort, pairs == 0 ? 0 : 1, SORT_THREADS);

    Tile tile = Tile.forRows(Math.ceilDiv(pairs, experts));
    int tiles = pairs / tile.rows() + Math.min(experts, pairs);
    launcher
        .begin()
        .add(inner)
        .add(x)
        .add(call.gateUp())
        .add(offsets)
        .add(sorted)
        .add(experts)
        .add(call.perToken())
        .add(call.hidden())
        .add(call.intermediate())
        .launch(
            tile.choose(gateUp[0], gateUp[1], gateUp[2]),
            tiles,
            Math.ceilDiv(call.intermediate(), tile.columns() / 2),
            1,
            tile.threads(),
            tile.sharedBytes());
    rounder.inPlace(call.down(), inner, pairs, call.intermediate());
    launcher
        .begin()
        .add(answers)
        .add(inner)
        .add(call.down())
        .add(offsets)
        .add(experts)
        .add(call.hidden())
        .add(call.intermediate())
        .launch(
            tile.choose(down[0], down[1], down[2]),
            tiles,
            Math.ceilDiv(call.hidden(), tile.columns()),
            1,
            tile.threads(),
            tile.sharedBytes());
    launcher
        .begin()
        .add(call.out())
        .add(answers)
        .add(call.expertWeights())
        .add(place)
        .add(call.perToken())
        .add(call.hidden())
        .add(call.out().dtype() == DType.F32 ? 1 : 0)
        .launch(combine, call.rows(), COMBINE_THREADS);
  }
}
