package dev.gregale.engine;

import java.util.List;

/**
 * All that became of one sequence.
 *
 * @param text what the tokens say
 * @param tokens generated, with log-probabilities where asked
 * @param promptScores one per prompt token; empty unless promptLogprobs were asked for
 * @param expertIds {@code [tokens, L, K]} of all that was fed, see {@link GenerationEvent.Routed};
 *     empty unless they were asked for
 * @param end why it ended, and the counts of its tokens
 */
public record GenerationResult(
    String text,
    List<TokenLogprob> tokens,
    List<TokenLogprob> promptScores,
    short[] expertIds,
    GenerationEvent.Finished end) {

  public GenerationResult {
    tokens = List.copyOf(tokens);
    promptScores = List.copyOf(promptScores);
  }
}
