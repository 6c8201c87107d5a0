package dev.gregale.model;

import dev.gregale.backend.AttentionWeights;
import dev.gregale.backend.Backend;
import dev.gregale.backend.ExpertWeights;
import dev.gregale.backend.Tensor;
import dev.gregale.backend.WeightRole;
import dev.gregale.checkpoint.CheckpointException;
import dev.gregale.checkpoint.CheckpointWeights;
import dev.gregale.checkpoint.ModelDimensions;
import dev.gregale.quantization.CodeCensus;
import dev.gregale.quantization.Recipe;
import dev.gregale.quantization.WeightQuantizer;
import dev.gregale.tensor.HostTensor;
import java.lang.foreign.Arena;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.function.IntConsumer;

/**
 * Copies stored weights to a backend, and quantises them on the way where that is asked for: one
 * weight at a time, so that beside the backend's copy only one weight's codes are in memory.
 */
final class WeightLoader {
  private final Backend backend;
  private final ModelDimensions dims;
  private final LayerPrecision precision;
  private final WeightStatistics statistics;

  WeightLoader(
      Backend backend,
      ModelDimensions dims,
      LayerPrecision precision,
      WeightStatistics statistics) {
    this.backend = backend;
    this.dims = dims;
    this.precision = precision;
    this.statistics = statistics;
  }

  /**
   * @throws CheckpointException if a weight has codes that are no numbers
   */
  MixtralWeights load(CheckpointWeights stored, Tensor ropeTable, IntConsumer layerLoaded) {
    List<LayerWeights> layers = new ArrayList<>();
    for (CheckpointWeights.Layer layer : stored.layers()) {
      layers.add(layer(layers.size(), layer));
      layerLoaded.accept(layers.size());
    }
    return new MixtralWeights(
        upload(WeightClass.EMBEDDING, WeightRole.EMBEDDING, stored.embedding()),
        layers,
        upload(WeightClass.NORM, WeightRole.NORM, stored.norm()),
        upload(WeightClass.LM_HEAD, WeightRole.LINEAR, stored.lmHead()),
        ropeTable);
  }

  private LayerWeights layer(int index, CheckpointWeights.Layer layer) {
    Projections projections = new Projections(index);
    int experts = dims.numExperts();
    return new LayerWeights(
        new AttentionWeights(
            upload(WeightClass.NORM, WeightRole.NORM, layer.inputNorm()),
            projections.upload(
                WeightClass.ATTENTION,
                WeightRole.QKV,
                layer.qkv(),
                List.of((int) dims.queryWidth(), (int) dims.keyWidth(), (int) dims.keyWidth())),
            projections.upload(
                WeightClass.ATTENTION,
                WeightRole.ATTENTION_OUTPUT,
                layer.output(),
                List.of(dims.hiddenSize()))),
        new ExpertWeights(
            upload(WeightClass.NORM, WeightRole.NORM, layer.postAttentionNorm()),
            upload(WeightClass.ROUTER, WeightRole.ROUTER, layer.router()),
            projections.upload(
                WeightClass.EXPERTS,
                WeightRole.EXPERTS_GATE_UP,
                layer.gateUp(),
                Collections.nCopies(2 * experts, dims.intermediateSize())),
            projections.upload(
                WeightClass.EXPERTS,
                WeightRole.EXPERTS_DOWN,
                layer.down(),
                Collections.nCopies(experts, dims.hiddenSize())),
            0));
  }

  private Tensor upload(WeightClass kind, WeightRole role, HostTensor source) {
    Tensor weight = backend.upload(role, source);
    statistics.add(kind, weight);
    return weight;
  }

  /** What may be quantised of one layer. */
  private final class Projections {
    private final int layer;

    Projections(int layer) {
      this.layer = layer;
    }

    /**
     * @param partRows rows of each matrix of the checkpoint that the weight consists of
     */
    Tensor upload(WeightClass kind, WeightRole role, HostTensor source, List<Integer> partRows) {
      if (source.scales() != null) {
        return uploadCodes(kind, role, precision.stored(source));
      }
      Recipe recipe = precision.recipe(layer);
      if (recipe == null) {
        return WeightLoader.this.upload(kind, role, source);
      }
      try (Arena arena = Arena.ofShared()) {
        WeightQuantizer quantizer =
            new WeightQuantizer(source, partRows, recipe, precision.inputs());
        return uploadCodes(kind, role, quantizer.toTensor(arena));
      }
    }
  }

  private Tensor uploadCodes(WeightClass kind, WeightRole role, HostTensor codes) {
    CodeCensus census = CodeCensus.of(codes);
    if (census.notNumbers() > 0) {
      throw new CheckpointException(
          "tensor %s: %d values are NaN; the checkpoint is damaged, or was never good"
              .formatted(codes.name(), census.notNumbers()));
    }
    statistics.add(kind, census);
    return upload(kind, role, codes);
  }
}
