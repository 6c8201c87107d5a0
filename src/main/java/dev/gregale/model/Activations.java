package dev.gregale.model;

import dev.gregale.backend.Backend;
import dev.gregale.backend.BlockScratch;
import dev.gregale.backend.ExpertRouting;
import dev.gregale.backend.Tensor;
import dev.gregale.tensor.DType;
import dev.gregale.tensor.Shape;

/**
 * The arrays between the ops, allocated once for the largest batch.
 *
 * @param residual fp32 {@code [T, D]}: the running sum that every block adds to
 * @param scratch between the ops of a block
 * @param logits fp32 {@code [R, V]}
 */
public record Activations(Tensor residual, BlockScratch scratch, Tensor logits) {

  /** Bytes that {@link #allocate} takes. */
  public static long numBytes(Backend backend, MixtralConfig config, int tokens, int logitRows) {
    int d = config.hiddenSize();
    long perToken =
        8L * d
            + 8L * config.numExpertsPerTok()
            + 4L * config.numLocalExperts()
            + (long) backend.activationDType().bytes()
                * (d
                    + config.attentionShape().qkvWidth()
                    + config.numAttentionHeads() * config.headDim());
    long perRow = 4L * config.vocabSize() + (long) backend.activationDType().bytes() * d;
    return tokens * perToken + logitRows * perRow;
  }

  /**
   * @param tokens T, the most tokens of one batch
   * @param logitRows R, the most rows of logits of one batch
   */
  public static Activations allocate(
      Backend backend, MixtralConfig config, int tokens, int logitRows) {
    DType dtype = backend.activationDType();
    int d = config.hiddenSize();
    int k = config.numExpertsPerTok();
    int qWidth = config.numAttentionHeads() * config.headDim();
    BlockScratch scratch =
        new BlockScratch(
            backend.allocate(dtype, Shape.of(tokens, d)),
            backend.allocate(DType.F32, Shape.of(tokens, d)),
            backend.allocateHeads(dtype, Shape.of(tokens, config.attentionShape().qkvWidth())),
            backend.allocateHeads(dtype, Shape.of(tokens, qWidth)),
            backend.allocate(DType.F32, Shape.of(tokens, config.numLocalExperts())),
            new ExpertRouting(
                backend.allocate(DType.I32, Shape.of(tokens, k)),
                backend.allocate(DType.F32, Shape.of(tokens, k))),
            backend.allocate(dtype, Shape.of(logitRows, d)));
    return new Activations(
        backend.allocate(DType.F32, Shape.of(tokens, d)),
        scratch,
        backend.allocate(DType.F32, Shape.of(logitRows, config.vocabSize())));
  }
}
