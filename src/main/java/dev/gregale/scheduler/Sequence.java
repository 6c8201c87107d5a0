package dev.gregale.scheduler;

import dev.gregale.sampling.SamplingParams;

/** One sequence of tokens on its way: prompt, output, and how much of it is computed. */
public final class Sequence {
  private final SamplingParams params;

  public Sequence(SamplingParams params) {
    this.params = params;
  }

  public SamplingParams params() {
    return params;
  }
}
