package dev.gregale.model;

import dev.gregale.backend.AttentionWeights;
import dev.gregale.backend.ExpertWeights;

/** One decoder layer: two blocks, each of which adds to the residual. */
public record LayerWeights(AttentionWeights attention, ExpertWeights experts) {}
