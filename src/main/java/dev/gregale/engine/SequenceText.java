package dev.gregale.engine;

import dev.gregale.sampling.FinishReason;
import dev.gregale.sampling.SamplingParams;
import dev.gregale.sampling.StopStringMatcher;
import org.jspecify.annotations.Nullable;

/**
 * The text of one sequence: tokens go in, text comes out that can be shown, up to a stop string.
 */
final class SequenceText {
  private final TextStream stream;
  private final StopStringMatcher matcher;
  private final boolean showStopToken;
  private final boolean hasStopStrings;
  private final int minTokens;
  private int numTokens;

  SequenceText(TextStream stream, SamplingParams params) {
    this.stream = stream;
    matcher = new StopStringMatcher(params.stop(), params.includeStopStrInOutput());
    showStopToken = params.includeStopStrInOutput();
    hasStopStrings = !params.stop().isEmpty();
    minTokens = params.minTokens();
  }

  /**
   * Takes a token.
   *
   * @param reason why the sequence ends with it; null if it goes on
   */
  String push(int token, @Nullable FinishReason reason) {
    numTokens++;
    boolean hidden = reason == FinishReason.STOP && !showStopToken;
    String text = hidden ? "" : stream.push(token);
    if (reason != null) {
      text += stream.finish();
    }
    if (numTokens <= minTokens) {
      return text; // stop strings do not count yet, nor does what they begin with
    }
    String shown = matcher.append(text);
    if (reason != null) {
      return shown + matcher.finish();
    }
    // A newline is held back until the token after it; a stop string should not wait for that.
    return hasStopStrings ? shown + matcher.appendIfItStops(stream.peek()) : shown;
  }

  /** What is left where the sequence ends without a last token. */
  String finish() {
    return matcher.append(stream.finish()) + matcher.finish();
  }

  /** Whether a stop string has ended the text. */
  boolean stopped() {
    return matcher.matched();
  }
}
