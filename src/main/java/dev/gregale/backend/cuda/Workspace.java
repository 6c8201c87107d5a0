package dev.gregale.backend.cuda;

import java.util.EnumMap;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * Scratch memory between the kernels of one op. It is sized once by {@link CudaBackend#reserve};
 * where nobody reserved it grows as needed, and what a recorded graph may still point to is kept.
 */
final class Workspace {

  /** What the scratch is for; two uses never share memory. */
  enum Use {
    /** Decode attention's splits: fp32 {@code [S, H, splits, d + 2]}. */
    ATTENTION_PARTIALS,
    /** Expert offsets {@code [E + 1]}, sorted pairs {@code [P]} and places {@code [P]}, int32. */
    EXPERT_ORDER,
    /** {@code [P, I]} after SwiGLU, bf16. */
    EXPERT_INNER,
    /** {@code [P, D]} before the combine, fp32. */
    EXPERT_ANSWERS,
    /** Counters of decode attention int32 {@code [T, G]}, zero between launches. */
    ATTENTION_COUNTERS,
    /** Prefill attention's two counters, zero between launches. */
    ATTENTION_WORK,
    /** Rows as token tiles: a product's x. */
    MATMUL_TILES,
    /** Scales of their codes, fp32. */
    MATMUL_SCALES,
    /** A product's x, rounded to MXFP8 and back, bf16. */
    ROUNDED_ROWS,
    /** A small batch's attention as a token tile. */
    CONTEXT_TILE,
    /** The experts' x as token tiles. */
    EXPERT_TILES,
    /** Scales of their codes, fp32. */
    EXPERT_SCALES,
    /** What is after SwiGLU as codes in token tiles. */
    INNER_CODES,
    /** Their scales, fp32. */
    INNER_SCALES,
    /** A small batch's products in pieces of K, fp32. */
    PARTS,
    /** Raw logits of adjusted tokens, fp32 {@code [A]}. */
    RAW_LOGITS,
  }

  private record Piece(DevicePointer pointer, long bytes) {}

  private static final long GRAIN = 1 << 20;
  private final CudaContext context;
  private final CudaMemory memory;
  private final Map<Use, Piece> pieces = new EnumMap<>(Use.class);
  private boolean isInGraphs;

  Workspace(CudaContext context, CudaMemory memory) {
    this.context = context;
    this.memory = memory;
  }

  /** From now on graphs hold addresses of this memory. */
  void recorded() {
    isInGraphs = true;
  }

  /** The address of at least that many bytes for that use, zero at first. */
  long address(Use use, long bytes) {
    Piece piece = pieces.get(use);
    if (piece == null || piece.bytes() < bytes) {
      piece = grow(use, piece, (bytes + GRAIN - 1) / GRAIN * GRAIN);
    }
    return piece.pointer().address();
  }

  private Piece grow(Use use, @Nullable Piece old, long bytes) {
    if (old != null && !isInGraphs) {
      context.synchronize();
      memory.free(old.pointer());
    }
    Piece piece = new Piece(memory.allocateZeroed(bytes, "scratch " + use), bytes);
    pieces.put(use, piece);
    return piece;
  }
}
