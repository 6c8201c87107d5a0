package dev.gregale.model;

import dev.gregale.backend.AttentionWeights;
import dev.gregale.backend.Backend;
import dev.gregale.backend.ExpertWeights;
import dev.gregale.backend.Tensor;
import dev.gregale.backend.WeightRole;
import dev.gregale.tensor.Shape;

/** Random weights in a model's shape, each tensor with a seed of its own. */
final class DummyWeights {
  private final Backend backend;
  private final MixtralConfig config;
  private long seed;

  DummyWeights(Backend backend, MixtralConfig config) {
    this.backend = backend;
    this.config = config;
  }

  LayerWeights layer() {
    long hidden = config.hiddenSize();
    long inner = config.intermediateSize();
    long experts = config.numLocalExperts();
    long queryWidth = config.dimensions().queryWidth();
    return new LayerWeights(
        new AttentionWeights(
            norm(),
            random(WeightRole.QKV, Shape.of(config.dimensions().qkvWidth(), hidden)),
            random(WeightRole.ATTENTION_OUTPUT, Shape.of(hidden, queryWidth))),
        new ExpertWeights(
            norm(),
            random(WeightRole.ROUTER, Shape.of(experts, hidden)),
            random(WeightRole.EXPERTS_GATE_UP, Shape.of(experts, 2 * inner, hidden)),
            random(WeightRole.EXPERTS_DOWN, Shape.of(experts, hidden, inner))));
  }

  /** {@code [D]}. */
  Tensor norm() {
    return random(WeightRole.NORM, Shape.of(config.hiddenSize()));
  }

  /** {@code [V, D]}: embedding or lm_head. */
  Tensor vocabulary(WeightRole role) {
    return random(role, Shape.of(config.vocabSize(), config.hiddenSize()));
  }

  private Tensor random(WeightRole role, Shape shape) {
    return backend.dummy(role, config.dtype(), shape, seed++);
  }
}
