package dev.gregale.backend.cuda;

import dev.gregale.backend.WorkspaceLimits;
import dev.gregale.tensor.DType;

/**
 * Blocks of at most 8 tokens, five launches a layer that stream each weight once past the tokens:
 * {@code decode_linear.cu}, {@code decode_attention.cu}, {@code decode_experts.cu}.
 */
final class DecodeFew implements DecodeKernels {
  private static final int MAX_TOKENS = 8;
  private static final int THREADS = 512;
  private static final String LINEAR = "decode_linear";
  private static final String EXPERTS = "decode_experts";
  private static final DecodeLimits LIMITS = new DecodeLimits(1, MAX_TOKENS, 32, false);
  private final KernelLauncher launcher;
  private final Workspace workspace;
  private final DecodeAttention attention;
  private final int multiprocessors;
  private final FormatKernels qkv128;
  private final FormatKernels qkv64;
  private final FormatKernels addLinear;
  private final KernelFunction lmHead;
  private final FormatKernels gateUp;
  private final FormatKernels down;

  DecodeFew(
      KernelLauncher launcher,
      KernelModules modules,
      Workspace workspace,
      DecodeAttention attention,
      int multiprocessors) {
    this.launcher = launcher;
    this.workspace = workspace;
    this.attention = attention;
    this.multiprocessors = multiprocessors;
    qkv128 = kernels(modules, LINEAR, "decode_qkv_%s_d128");
    qkv64 = kernels(modules, LINEAR, "decode_qkv_%s_d64");
    addLinear = kernels(modules, LINEAR, "decode_add_linear_%s");
    lmHead =
        modules.function(
            LINEAR, "decode_lm_head_bf16", DecodeLimits.maxTokenBytes(), DecodeAttention.CARVE_OUT);
    gateUp = kernels(modules, EXPERTS, "decode_gate_up_%s");
    down = new FormatKernels(modules, EXPERTS, "decode_down_%s", 0, DecodeAttention.CARVE_OUT);
  }

  private static FormatKernels kernels(KernelModules modules, String source, String name) {
    return new FormatKernels(
        modules, source, name, DecodeLimits.maxTokenBytes(), DecodeAttention.CARVE_OUT);
  }

  /** Shared memory of rows that meet such a weight. */
  private static int tokenBytes(int rows, CudaTensor weight, int width) {
    return DecodeLimits.tokenBytes(rows, weight.format().paddedColumns(width));
  }

  @Override
  public DecodeLimits limits() {
    return LIMITS;
  }

  @Override
  public void reserve(WorkspaceLimits limits) {
    attention.reserve(limits, MAX_TOKENS);
    inner(
        Math.min(MAX_TOKENS, limits.tokens()) * limits.expertsPerToken(),
        TiledLayout.kTiles(limits.intermediate()) * TiledLayout.TILE_K);
  }

  private long inner(int pairs, int intermediate) {
    return workspace.address(Workspace.Use.EXPERT_INNER, 2L * pairs * intermediate);
  }

  @Override
  public void launch(AttentionBlock block) {
    CudaTensor queries = CudaTensor.of(block.scratch().qkv(), DType.BF16, "qkv");
    CudaTensor context = CudaTensor.of(block.scratch().context(), DType.BF16, "the context");
    int stride = block.shape().qkvWidth(); // the array that a whole batch's QKV would take
    int tokens = block.tokens();
    launcher
        .begin()
        .add(queries)
        .add(block.kv().keys().address())
        .add(block.kv().values().address())
        .add(block.residual())
        .add(block.norm().bf16Gain())
        .addWeight(block.qkv())
        .add(block.ropeTable())
        .add(CudaTensor.of(block.batch().positions()))
        .add(CudaTensor.of(block.batch().slotMapping()))
        .add(block.eps())
        .add(stride)
        .add(tokens)
        .add(block.hidden())
        .add(block.shape().numHeads())
        .add(block.shape().numKvHeads())
        .add(block.kv().blockSize())
        .overlapping()
        .launch(
            (block.shape().headDim() == 128 ? qkv128 : qkv64).of(block.qkv().format()),
            multiprocessors,
            1,
            1,
            THREADS,
            tokenBytes(tokens, block.qkv(), block.hidden()));
    attention.launch(block, context.address(), queries.address(), stride, 0);
    launcher
        .begin()
        .add(block.out())
        .add(context)
        .addWeight(block.output())
        .add(tokens)
        .add(block.hidden())
        .add(block.contextWidth())
        .overlapping()
        .launch(
            addLinear.of(block.output().format()),
            multiprocessors,
            1,
            1,
            THREADS,
            tokenBytes(tokens, block.output(), block.contextWidth()));
  }

  @Override
  public void launch(ExpertBlock block) {
    int tokens = block.tokens();
    long inner = inner(tokens * block.perToken(), block.intermediate());
    launcher
        .begin()
        .add(inner)
        .add(block.expertIds())
        .add(block.expertWeights())
        .add(block.residual())
        .add(block.norm().bf16Gain())
        .add(block.router())
        .addWeight(block.gateUp())
        .add(CudaTensor.of(block.batch().slotMapping()))
        .add(block.eps())
        .add(tokens)
        .add(block.hidden())
        .add(block.intermediate())
        .add(block.routedExperts())
        .add(block.perToken())
        .add(block.firstExpert())
        .add(block.numExperts())
        .overlapping()
        .launch(
            gateUp.of(block.gateUp().format()),
            multiprocessors,
            1,
            1,
            THREADS,
            tokenBytes(tokens, block.gateUp(), block.hidden()));
    launcher
        .begin()
        .add(block.out())
        .add(inner)
        .add(block.expertIds())
        .addWeight(block.down())
        .add(tokens)
        .add(block.hidden())
        .add(block.intermediate())
        .add(block.perToken())
        .add(block.firstExpert())
        .add(block.numExperts())
        .overlapping()
        .launch(down.of(block.down().format()), multiprocessors, THREADS);
  }

  @Override
  public void launch(Logits logits) {
    launcher
        .begin()
        .add(logits.logits())
        .add(logits.residual())
        .add(CudaTensor.of(logits.batch().logitRows()))
        .add(logits.norm().bf16Gain())
        .add(logits.lmHead())
        .add(logits.eps())
        .add(logits.rows())
        .add(logits.hidden())
        .add(logits.vocabSize())
        .overlapping()
        .launch(
            lmHead,
            multiprocessors,
            1,
            1,
            THREADS,
            DecodeLimits.tokenBytes(logits.rows(), logits.hidden()));
  }
}
