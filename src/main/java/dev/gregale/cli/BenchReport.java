package dev.gregale.cli;

import java.util.List;
import java.util.Locale;
import java.util.Map;

/**
 * What {@code bench} found. All times are medians over the repetitions.
 *
 * @param model its name
 * @param backend its description
 * @param loadSeconds from opening the files to ready
 * @param prefill one row per prompt length
 * @param decode one row per number of sequences
 * @param prefillOps each op's share of a prefill
 * @param decodeOps each op's share of a decode of the first row
 */
record BenchReport(
    String model,
    String backend,
    double loadSeconds,
    List<Prefill> prefill,
    List<Decode> decode,
    Map<String, Double> prefillOps,
    Map<String, Double> decodeOps) {

  /**
   * @param promptTokens of one sequence
   * @param timeToFirstTokenMillis from submission to the first token drawn
   */
  record Prefill(int promptTokens, double tokensPerSecond, double timeToFirstTokenMillis) {}

  /**
   * @param sequences decoded together
   * @param outputTokens of each
   * @param tokensPerSecond of all together
   * @param stepMillis one step of all of them
   */
  record Decode(int sequences, int outputTokens, double tokensPerSecond, double stepMillis) {}

  /** For people. */
  String toText() {
    StringBuilder text = new StringBuilder();
    line(text, "%s on %s, loaded in %.2f s", model, backend, loadSeconds);
    for (Prefill row : prefill) {
      line(
          text,
          "prefill %6d tokens   %10.1f tokens/s   first token after %.2f ms",
          row.promptTokens(),
          row.tokensPerSecond(),
          row.timeToFirstTokenMillis());
    }
    for (Decode row : decode) {
      line(
          text,
          "decode  %6d at once  %10.1f tokens/s   %.3f ms a step",
          row.sequences(),
          row.tokensPerSecond(),
          row.stepMillis());
    }
    shares(text, "prefill", prefillOps);
    shares(text, "decode", decodeOps);
    return text.toString();
  }

  private static void shares(StringBuilder text, String phase, Map<String, Double> ops) {
    ops.forEach((op, share) -> line(text, "%5.1f%% of %s  %s", 100 * share, phase, op));
  }

  private static void line(StringBuilder text, String format, Object... arguments) {
    text.append(String.format(Locale.ROOT, format, arguments)).append(System.lineSeparator());
  }
}
