package dev.gregale.engine;

import dev.gregale.sampling.SamplingParams;
import java.util.List;
import java.util.UUID;
import org.jspecify.annotations.Nullable;

/**
 * What one API request asks of the engine: {@code prompts.size() * n} sequences, admitted or
 * refused together. Sequence {@code p * n + i} is the i-th answer to prompt p; with a seed, it
 * draws with seed + i.
 *
 * @param requestId for logs; unique while it runs
 * @param prompts token ids, each prompt at least one
 * @param n sequences per prompt
 * @param params the same for all of them
 * @param cacheSalt its sequences share computed prefixes only with sequences of the same salt: who
 *     sent it, lest the time to the first token tell others what was asked before; null is the salt
 *     of all of whom nothing is known
 * @param priority the lower, the sooner it runs; 0 unless the engine's policy is {@link
 *     SchedulingPolicy#PRIORITY}
 */
public record GenerationRequest(
    String requestId,
    List<int[]> prompts,
    int n,
    SamplingParams params,
    @Nullable String cacheSalt,
    int priority) {

  public GenerationRequest {
    prompts = List.copyOf(prompts);
  }

  /** One sequence after one prompt, under an id of its own. */
  public static GenerationRequest of(int[] prompt, SamplingParams params) {
    return new GenerationRequest(
        UUID.randomUUID().toString(), List.of(prompt), 1, params, /* cacheSalt= */ null, 0);
  }

  /** The same request of someone else. */
  public GenerationRequest withCacheSalt(String salt) {
    return new GenerationRequest(requestId, prompts, n, params, salt, priority);
  }

  /** Sequences that this request takes. */
  public int numSequences() {
    return Math.multiplyExact(prompts.size(), n);
  }
}
