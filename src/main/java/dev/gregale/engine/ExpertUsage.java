package dev.gregale.engine;

import dev.gregale.model.StepOutput;
import io.micrometer.core.instrument.FunctionCounter;
import io.micrometer.core.instrument.Gauge;
import io.micrometer.core.instrument.MeterRegistry;
import java.util.concurrent.atomic.AtomicLongArray;

/**
 * How many tokens each expert of each layer has got, at all replicas. Any thread reads; a token
 * costs an addition for each of its experts.
 */
final class ExpertUsage {
  private static final int WINDOW_TOKENS = 1 << 14;

  private final RoutingShape shape;
  private final AtomicLongArray tokens; // [L, E]

  // The imbalance is that of the last one to two windows.
  private volatile long[] windowStart;
  private long[] nextWindowStart;
  private long windowTokens;

  ExpertUsage(RoutingShape shape, MeterRegistry registry) {
    this.shape = shape;
    tokens = new AtomicLongArray(shape.numLayers() * shape.numExperts());
    windowStart = new long[tokens.length()];
    nextWindowStart = windowStart;
    for (int layer = 0; layer < shape.numLayers(); layer++) {
      register(layer, registry);
    }
  }

  private void register(int layer, MeterRegistry registry) {
    String layerTag = Integer.toString(layer);
    for (int expert = 0; expert < shape.numExperts(); expert++) {
      int index = layer * shape.numExperts() + expert;
      FunctionCounter.builder("gregale.experts.tokens", tokens, all -> all.get(index))
          .description("Tokens that went to an expert")
          .tag("layer", layerTag)
          .tag("expert", Integer.toString(expert))
          .register(registry);
    }
    Gauge.builder("gregale.experts.imbalance", this, usage -> usage.imbalance(layer))
        .description("Tokens of a layer's busiest expert to those of its average one, of late")
        .tag("layer", layerTag)
        .register(registry);
  }

  /** Counts the tokens of a step. */
  synchronized void count(StepOutput output, int numTokens) {
    int perLayer = numTokens * shape.numExpertsPerTok();
    for (int layer = 0; layer < shape.numLayers(); layer++) {
      int row = layer * shape.numExperts();
      for (int i = layer * perLayer; i < (layer + 1) * perLayer; i++) {
        int expert = output.expertIds[i];
        if (expert >= 0 && expert < shape.numExperts()) { // NaN logits choose nobody
          tokens.setRelease(row + expert, tokens.getPlain(row + expert) + 1);
        }
      }
    }
    windowTokens += numTokens;
    if (windowTokens >= WINDOW_TOKENS) {
      windowTokens = 0;
      windowStart = nextWindowStart;
      nextWindowStart = new long[tokens.length()];
      for (int i = 0; i < nextWindowStart.length; i++) {
        nextWindowStart[i] = tokens.getPlain(i);
      }
    }
  }

  /** 1 where all experts get the same; 0 before any token. */
  private double imbalance(int layer) {
    long[] start = windowStart;
    long most = 0;
    long all = 0;
    for (int expert = 0; expert < shape.numExperts(); expert++) {
      int index = layer * shape.numExperts() + expert;
      long recent = tokens.get(index) - start[index];
      most = Math.max(most, recent);
      all += recent;
    }
    return all == 0 ? 0 : (double) most * shape.numExperts() / all;
  }
}
