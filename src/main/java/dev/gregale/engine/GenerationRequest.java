package dev.gregale.engine;

import dev.gregale.sampling.SamplingParams;
import java.util.List;

/**
 * What one API request asks of the engine: {@code prompts.size() * n} sequences, admitted or
 * refused together. Sequence {@code p * n + i} is the i-th answer to prompt p; with a seed, it
 * draws with seed + i.
 *
 * @param requestId for logs; unique while it runs
 * @param prompts token ids, each prompt at least one
 * @param n sequences per prompt
 * @param params the same for all of them
 */
public record GenerationRequest(
    String requestId, List<int[]> prompts, int n, SamplingParams params) {

  public GenerationRequest {
    prompts = List.copyOf(prompts);
  }

  /** Sequences that this request takes. */
  public int numSequences() {
    return Math.multiplyExact(prompts.size(), n);
  }
}
