package dev.gregale.model;

import dev.gregale.backend.Backend;
import dev.gregale.backend.BlockScratch;
import dev.gregale.backend.ExpertRouting;
import dev.gregale.backend.Tensor;
import dev.gregale.tensor.DType;
import dev.gregale.tensor.Shape;
import java.util.List;

/**
 * The arrays between the ops, allocated once for the largest batch.
 *
 * @param residual fp32 {@code [T, D]}: the running sum that every block adds to
 * @param scratch between the ops of a block: for each layer the same arrays but for the expert ids,
 *     which stay until the next batch
 * @param logits fp32 {@code [R, V]}
 */
public record Activations(Tensor residual, List<BlockScratch> scratch, Tensor logits) {

  /** Bytes that {@link #allocate} takes. */
  public static long numBytes(Backend backend, MixtralConfig config, int tokens, int logitRows) {
    int d = config.hiddenSize();
    long perToken =
        8L * d
            + 4L * config.numExpertsPerTok() * (config.numHiddenLayers() + 2)
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
    Shape perExpert = Shape.of(tokens, config.numExpertsPerTok());
    int qWidth = config.numAttentionHeads() * config.headDim();
    Tensor hidden = backend.allocate(dtype, Shape.of(tokens, d));
    Tensor update = backend.allocate(DType.F32, Shape.of(tokens, d));
    Tensor qkv = backend.allocateHeads(dtype, Shape.of(tokens, config.attentionShape().qkvWidth()));
    Tensor context = backend.allocateHeads(dtype, Shape.of(tokens, qWidth));
    Tensor router = backend.allocate(DType.F32, Shape.of(tokens, config.numLocalExperts()));
    Tensor weights = backend.allocate(DType.F32, perExpert);
    Tensor localIds = backend.allocate(DType.I32, perExpert);
    Tensor lastHidden = backend.allocate(dtype, Shape.of(logitRows, d));
    List<BlockScratch> scratch =
        backend.allocateTogether(DType.I32, perExpert, config.numHiddenLayers()).stream()
            .map(ids -> new ExpertRouting(ids, weights))
            .map(
                to ->
                    new BlockScratch(
                        hidden, update, qkv, context, router, to, localIds, lastHidden))
            .toList();
    return new Activations(
        backend.allocate(DType.F32, Shape.of(tokens, d)),
        scratch,
        backend.allocate(DType.F32, Shape.of(logitRows, config.vocabSize())));
  }

  /** Of each layer the ids of the last batch's experts: int32 {@code [T, K]}. */
  List<Tensor> expertIds() {
    return scratch.stream().map(layer -> layer.routing().expertIds()).toList();
  }
}
