package dev.gregale.backend.cuda;

import dev.gregale.backend.WorkspaceLimits;
import dev.gregale.tensor.DType;

/**
 * Blocks of up to 256 tokens on Hopper, ten or eleven launches a layer: weights are the matrix
 * unit's first operand and are read once, the tokens its second: {@code sm90a/decode_gemm.cu},
 * {@code decode_rows.cu}, and an attention. Where products keep K whole and attention is invariant,
 * rows have the bits that they have in larger batches, of which smaller ops make the blocks.
 */
final class DecodeMany implements DecodeKernels {
  private static final int MAX_TOKENS = 256;
  private static final int MAX_PAIRS = 512;

  /** Where other kernels take fewer tokens. */
  static final DecodeLimits ABOVE_FEW = new DecodeLimits(9, MAX_TOKENS, MAX_PAIRS, false);

  /** All that these kernels can do. */
  static final DecodeLimits UP_TO_MANY = new DecodeLimits(1, MAX_TOKENS, MAX_PAIRS, true);

  private static final String ROWS = "decode_rows";
  private static final int ROW_THREADS = 256;
  private static final int PLAN_THREADS = 512;
  private static final int COLUMNS = 4 * ROW_THREADS; // of a block that adds parts
  private final KernelLauncher launcher;
  private final Workspace workspace;
  private final BlockAttention attention;
  private final DecodeGemm gemm;
  private final DecodeLimits limits;
  private final FusedRoute route;
  private final KernelFunction normTiles;
  private final KernelFunction qkvParts;
  private final KernelFunction addParts;
  private final KernelFunction planTiles;
  private final KernelFunction combineParts;

  DecodeMany(
      KernelLauncher launcher,
      KernelModules modules,
      Workspace workspace,
      BlockAttention attention,
      DecodeGemm gemm,
      FusedRoute route,
      DecodeLimits limits) {
    this.launcher = launcher;
    this.workspace = workspace;
    this.attention = attention;
    this.gemm = gemm;
    this.limits = limits;
    this.route = route;
    normTiles = modules.function(ROWS, "decode_norm_tiles_bf16");
    qkvParts = modules.function(ROWS, "decode_qkv_parts_bf16");
    addParts = modules.function(ROWS, "decode_add_parts_f32");
    planTiles = modules.function(ROWS, "decode_plan_tiles_bf16");
    combineParts = modules.function(ROWS, "decode_combine_parts_f32");
  }

  @Override
  public DecodeLimits limits() {
    return limits;
  }

  @Override
  public void reserve(WorkspaceLimits limits) {
    attention.reserve(limits, MAX_TOKENS);
    int contextWidth = limits.attention().numHeads() * limits.attention().headDim();
    int most = Math.min(MAX_TOKENS, limits.tokens());
    for (int tokens : new int[] {Math.min(most, DecodeGemm.FEW_FOR_DOWN - 1), most}) {
      projectionParts(tokens, limits.attention().qkvWidth(), limits.hidden());
      projectionParts(tokens, limits.hidden(), contextWidth);
      contextTile(tokens, contextWidth);
      int rows = partRows(tokens * limits.expertsPerToken(), limits.numExperts());
      tiles(rows, limits.hidden());
      inner(rows, limits.intermediate());
      plan(limits.numExperts(), tokens * limits.expertsPerToken());
      for (WeightFormat format : WeightFormat.values()) {
        int kTiles = format.kTiles(limits.intermediate());
        parts(kTiles / gemm.downSteps(tokens, kTiles), rows, limits.hidden());
      }
    }
  }

  private static int partRows(int pairs, int experts) {
    return TiledLayout.maxPaddedRows(pairs, experts, TiledLayout.MAX_TOKEN_ROWS);
  }

  private long parts(int count, int rows, int width) {
    return workspace.address(Workspace.Use.PARTS, 4L * count * rows * width);
  }

  private long projectionParts(int tokens, int n, int k) {
    return parts(gemm.maxParts(n, k), tokens, n);
  }

  private long tiles(int rows, int k) {
    return workspace.address(Workspace.Use.EXPERT_TILES, TiledLayout.tokenBytes(rows, k));
  }

  private long inner(int rows, int intermediate) {
    return workspace.address(
        Workspace.Use.EXPERT_INNER, TiledLayout.tokenBytes(rows, intermediate));
  }

  private long contextTile(int tokens, int width) {
    return workspace.address(
        Workspace.Use.CONTEXT_TILE, TiledLayout.tokenBytes(TiledLayout.tileRows(tokens), width));
  }

  private long plan(int experts, int pairs) {
    return workspace.address(
        Workspace.Use.EXPERT_ORDER, TiledLayout.planBytes(experts) + 4L * pairs);
  }

  /** rmsNorm into a token tile. */
  private long normTile(
      CudaTensor residual, long rowIds, CudaTensor norm, float eps, int rows, int hidden) {
    int tileRows = TiledLayout.tileRows(rows);
    long tile = tiles(tileRows, hidden);
    launcher
        .begin()
        .add(tile)
        .add(residual)
        .add(rowIds)
        .add(norm)
        .add(eps)
        .add(hidden)
        .add(tileRows)
        .overlapping()
        .launch(normTiles, rows, ROW_THREADS);
    return tile;
  }

  @Override
  public void launch(AttentionBlock block) {
    int tokens = block.tokens();
    int hidden = block.hidden();
    int width = block.shape().qkvWidth();
    long tile = normTile(block.residual(), 0L, block.norm(), block.eps(), tokens, hidden);
    long parts = projectionParts(tokens, width, hidden);
    WeightFormat format = block.qkv().format();
    int steps = gemm.steps(width, hidden, format);
    gemm.project(parts, block.qkv(), tile, tokens, steps);
    CudaTensor queries = CudaTensor.of(block.scratch().qkv(), DType.BF16, "qkv");
    launcher
        .begin()
        .add(queries)
        .add(block.kv().keys().address())
        .add(block.kv().values().address())
        .add(parts)
        .add(block.ropeTable())
        .add(CudaTensor.of(block.batch().positions()))
        .add(CudaTensor.of(block.batch().slotMapping()))
        .add(width)
        .add(tokens)
        .add(block.shape().numHeads())
        .add(block.shape().numKvHeads())
        .add(block.shape().headDim())
        .add(block.kv().blockSize())
        .add(format.kTiles(hidden))
        .add(steps)
        .add(gemm.keepsKWhole() ? 1 : 0)
        .overlapping()
        .launch(qkvParts, Math.ceilDiv(width / 8, ROW_THREADS), tokens, 1, ROW_THREADS, 0);
    int contextWidth = block.contextWidth();
    long context = contextTile(tokens, contextWidth);
    attention.launch(block, context, queries.address(), width, TiledLayout.tileRows(tokens));
    addOutput(block, context);
  }

  /** out += output * context. */
  private void addOutput(AttentionBlock block, long context) {
    int tokens = block.tokens();
    int hidden = block.hidden();
    int width = block.contextWidth();
    if (gemm.keepsKWhole()) {
      gemm.add(block.out(), block.output(), context, tokens);
      return;
    }
    WeightFormat format = block.output().format();
    int steps = gemm.steps(hidden, width, format);
    long update = projectionParts(tokens, hidden, width);
    gemm.project(update, block.output(), context, tokens, steps);
    launcher
        .begin()
        .add(block.out())
        .add(update)
        .add(tokens)
        .add(hidden)
        .add(format.kTiles(width))
        .add(steps)
        .overlapping()
        .launch(addParts, Math.ceilDiv(hidden, COLUMNS), tokens, 1, ROW_THREADS, 0);
  }

  @Override
  public void launch(ExpertBlock block) {
    int tokens = block.tokens();
    int hidden = block.hidden();
    int experts = block.numExperts();
    int perToken = block.perToken();
    int rows = partRows(tokens * perToken, experts);
    long plan = plan(experts, tokens * perToken);
    long rowsOf = plan + TiledLayout.planBytes(experts);
    long tiles = tiles(rows, hidden);
    routeAndPlan(block, plan, rowsOf, tiles);
    long inner = inner(rows, block.intermediate());
    gemm.gateUp(inner, block, tiles, plan);
    int kTiles = block.down().format().kTiles(block.intermediate());
    int steps = gemm.downSteps(tokens, kTiles);
    long parts = parts(kTiles / steps, rows, hidden);
    gemm.down(parts, block, inner, plan, rows);
    launcher
        .begin()
        .add(block.out())
        .add(parts)
        .add(rowsOf)
        .add(block.expertWeights())
        .add(hidden)
        .add(perToken)
        .add(rows)
        .add(kTiles)
        .add(steps)
        .overlapping()
        .launch(combineParts, Math.ceilDiv(hidden, COLUMNS), tokens, 1, ROW_THREADS, 0);
  }

  private void routeAndPlan(ExpertBlock block, long plan, long rowsOf, long tiles) {
    route.launch(block);
    int tokens = block.tokens();
    launcher
        .begin()
        .add(tiles)
        .add(plan)
        .add(rowsOf)
        .add(FusedRoute.normed(block))
        .add(block.expertIds())
        .add(tokens)
        .add(block.hidden())
        .add(block.perToken())
        .add(block.firstExpert())
        .add(block.numExperts())
        .overlapping()
        .launch(planTiles, tokens, PLAN_THREADS);
  }

  @Override
  public void launch(Logits logits) {
    long rowIds = CudaTensor.of(logits.batch().logitRows()).address();
    int hidden = logits.hidden();
    long tile =
        normTile(logits.residual(), rowIds, logits.norm(), logits.eps(), logits.rows(), hidden);
    gemm.project(
        logits.logits().address(),
        logits.lmHead(),
        tile,
        logits.rows(),
        TiledLayout.kTiles(hidden)); // one part, the result
  }
}
