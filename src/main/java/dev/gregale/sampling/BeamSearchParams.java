package dev.gregale.sampling;

/**
 * Beam search instead of drawing, as Hugging Face's {@code generate} does it with {@code num_beams}
 * and {@code early_stopping=False}.
 *
 * @param width beams kept at each place, 1 to {@link #MAX_WIDTH}; at least as many as are returned
 * @param lengthPenalty a sequence's score is its log-probability divided by its length in generated
 *     tokens to this power: above 0 favours long ones
 */
public record BeamSearchParams(int width, double lengthPenalty) {

  /** Two tokens for each beam have to be among the likeliest that are reported. */
  public static final int MAX_WIDTH = SamplingParams.MAX_LOGPROBS / 2;
}
