package dev.gregale.cli;

import java.nio.file.Path;
import java.util.Locale;

/**
 * How well a model foretells a text.
 *
 * @param model its name
 * @param backend its description
 * @param file of the text
 * @param contextTokens of a window
 * @param stride tokens from window to window
 * @param windows that were run
 * @param tokens that were scored
 * @param loss mean negative log-likelihood of a token, in nats
 * @param perplexity e to the loss
 * @param seconds of scoring, without loading
 */
record PerplexityReport(
    String model,
    String backend,
    String file,
    int contextTokens,
    int stride,
    int windows,
    long tokens,
    double loss,
    double perplexity,
    double seconds) {

  PerplexityReport(
      String model,
      String backend,
      Path file,
      int contextTokens,
      int stride,
      Perplexity.Score score,
      double seconds) {
    this(
        model,
        backend,
        file.toString(),
        contextTokens,
        stride,
        score.windows(),
        score.tokens(),
        score.loss(),
        Math.exp(score.loss()),
        seconds);
  }

  /** For people. */
  String toText() {
    return String.format(
        Locale.ROOT,
        """
        %s on %s
        %s: %,d tokens in %,d windows of %d, stride %d
        loss       %.5f nats per token
        perplexity %.4f
        %.1f s, %.0f tokens/s""",
        model,
        backend,
        file,
        tokens,
        windows,
        contextTokens,
        stride,
        loss,
        perplexity,
        seconds,
        tokens / seconds);
  }
}
