package dev.gregale.model;

import dev.gregale.backend.Backend;
import dev.gregale.backend.ExpertRouting;
import dev.gregale.backend.Tensor;
import dev.gregale.tensor.DType;
import dev.gregale.tensor.Shape;

/**
 * The arrays between the ops, allocated once for the largest batch.
 *
 * @param residual fp32 {@code [T, D]}: the running sum that every block adds to
 * @param hidden {@code [T, D]}: what goes into a block, normalised
 * @param update fp32 {@code [T, D]}: what comes out of a block, to be added to the residual;
 *     rounded to nothing less, since what is lost here stays lost
 * @param qkv {@code [T, (H + 2G) d]}
 * @param context {@code [T, H d]}: what attention gathered
 * @param routerLogits fp32 {@code [T, E]}
 * @param routing ids and weights {@code [T, K]}
 * @param lastHidden {@code [R, D]}: the rows whose logits are wanted
 * @param logits fp32 {@code [R, V]}
 */
public record Activations(
    Tensor residual,
    Tensor hidden,
    Tensor update,
    Tensor qkv,
    Tensor context,
    Tensor routerLogits,
    ExpertRouting routing,
    Tensor lastHidden,
    Tensor logits) {

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
    return new Activations(
        backend.allocate(DType.F32, Shape.of(tokens, d)),
        backend.allocate(dtype, Shape.of(tokens, d)),
        backend.allocate(DType.F32, Shape.of(tokens, d)),
        backend.allocate(dtype, Shape.of(tokens, config.attentionShape().qkvWidth())),
        backend.allocate(dtype, Shape.of(tokens, qWidth)),
        backend.allocate(DType.F32, Shape.of(tokens, config.numLocalExperts())),
        new ExpertRouting(
            backend.allocate(DType.I32, Shape.of(tokens, k)),
            backend.allocate(DType.F32, Shape.of(tokens, k))),
        backend.allocate(dtype, Shape.of(logitRows, d)),
        backend.allocate(DType.F32, Shape.of(logitRows, config.vocabSize())));
  }
}
