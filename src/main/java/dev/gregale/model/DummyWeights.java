package dev.gregale.model;

import dev.gregale.backend.AttentionWeights;
import dev.gregale.backend.Backend;
import dev.gregale.backend.ExpertWeights;
import dev.gregale.backend.Tensor;
import dev.gregale.backend.WeightRole;
import dev.gregale.tensor.Shape;
import dev.gregale.tensor.WeightScaling;
import org.jspecify.annotations.Nullable;

/** Random weights in a model's shape, each tensor with a seed of its own. */
final class DummyWeights {
  private final Backend backend;
  private final MixtralConfig config;
  private final WeightStatistics statistics;
  private long seed;

  DummyWeights(Backend backend, MixtralConfig config, WeightStatistics statistics) {
    this.backend = backend;
    this.config = config;
    this.statistics = statistics;
  }

  /**
   * @param scaling of the projections; null: not quantised
   */
  LayerWeights layer(@Nullable WeightScaling scaling) {
    long hidden = config.hiddenSize();
    long inner = config.intermediateSize();
    long experts = config.numLocalExperts();
    long queryWidth = config.dimensions().queryWidth();
    return new LayerWeights(
        new AttentionWeights(
            norm(),
            projection(WeightRole.QKV, Shape.of(config.dimensions().qkvWidth(), hidden), scaling),
            projection(WeightRole.ATTENTION_OUTPUT, Shape.of(hidden, queryWidth), scaling)),
        new ExpertWeights(
            norm(),
            random(WeightClass.ROUTER, WeightRole.ROUTER, Shape.of(experts, hidden)),
            projection(WeightRole.EXPERTS_GATE_UP, Shape.of(experts, 2 * inner, hidden), scaling),
            projection(WeightRole.EXPERTS_DOWN, Shape.of(experts, hidden, inner), scaling),
            0));
  }

  /** {@code [D]}. */
  Tensor norm() {
    return random(WeightClass.NORM, WeightRole.NORM, Shape.of(config.hiddenSize()));
  }

  /** {@code [V, D]}: embedding or lm_head. */
  Tensor vocabulary(WeightRole role) {
    WeightClass kind = role == WeightRole.EMBEDDING ? WeightClass.EMBEDDING : WeightClass.LM_HEAD;
    return random(kind, role, Shape.of(config.vocabSize(), config.hiddenSize()));
  }

  private Tensor projection(WeightRole role, Shape shape, @Nullable WeightScaling scaling) {
    boolean isAttention = role == WeightRole.QKV || role == WeightRole.ATTENTION_OUTPUT;
    WeightClass kind = isAttention ? WeightClass.ATTENTION : WeightClass.EXPERTS;
    return scaling == null
        ? random(kind, role, shape)
        : counted(kind, backend.dummy(role, scaling, shape, seed++));
  }

  private Tensor random(WeightClass kind, WeightRole role, Shape shape) {
    return counted(kind, backend.dummy(role, config.dtype(), shape, seed++));
  }

  private Tensor counted(WeightClass kind, Tensor weight) {
    statistics.add(kind, weight);
    return weight;
  }
}
