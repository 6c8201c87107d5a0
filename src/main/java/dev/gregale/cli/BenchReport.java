package dev.gregale.cli;

import dev.gregale.backend.Ceilings;
import java.util.List;
import java.util.Locale;
import org.jspecify.annotations.Nullable;

/**
 * What {@code bench} found. All times are medians over the repetitions.
 *
 * @param model its name
 * @param backend its description
 * @param precision of weights, products and KV cache
 * @param loadSeconds from opening the files to ready
 * @param ceilings of the device, measured before and after; null where they are not
 * @param prefill one row per prompt length
 * @param decode one row per number of sequences
 */
record BenchReport(
    String model,
    String backend,
    String precision,
    double loadSeconds,
    @Nullable Ceilings ceilings,
    List<Prefill> prefill,
    List<Decode> decode) {

  /**
   * @param promptTokens of one sequence
   * @param timeToFirstTokenMillis from submission to the first token drawn
   * @param teraflops of the whole model per second
   */
  record Prefill(
      int promptTokens,
      double tokensPerSecond,
      double timeToFirstTokenMillis,
      double teraflops,
      List<Op> ops) {}

  /**
   * @param sequences decoded together
   * @param outputTokens of each
   * @param tokensPerSecond of all together
   * @param stepMillis one step of all of them
   * @param gigabytesPerSecond of weights, keys and values
   */
  record Decode(
      int sequences,
      int outputTokens,
      double tokensPerSecond,
      double stepMillis,
      double gigabytesPerSecond,
      List<Op> ops) {}

  /**
   * @param share of the time of all ops
   * @param millis of a prefill or a step
   * @param rate TFLOP/s in a prefill, GB/s in a decode; null where the op's work is not counted
   */
  record Op(String name, double share, double millis, @Nullable Double rate) {}

  /** For people. */
  String toText() {
    StringBuilder text = new StringBuilder();
    line(text, "%s on %s, loaded in %.2f s", model, backend, loadSeconds);
    line(text, "%s", precision);
    if (ceilings != null) {
      line(
          text,
          "ceilings of this run: reads %.0f GB/s, products %.0f TFLOP/s",
          ceilings.readBytesPerSecond() / 1e9,
          ceilings.matmulFlopsPerSecond() / 1e12);
    }
    for (Prefill row : prefill) {
      line(
          text,
          "prefill %6d tokens   %10.1f tokens/s   first token after %.2f ms   %.2f TFLOP/s",
          row.promptTokens(),
          row.tokensPerSecond(),
          row.timeToFirstTokenMillis(),
          row.teraflops());
    }
    for (Decode row : decode) {
      line(
          text,
          "decode  %6d at once  %10.1f tokens/s   %.3f ms a step   %.0f GB/s%s",
          row.sequences(),
          row.tokensPerSecond(),
          row.stepMillis(),
          row.gigabytesPerSecond(),
          shareOfReads(row.gigabytesPerSecond()));
    }
    prefill.forEach(row -> ops(text, "prefill of " + row.promptTokens(), "TFLOP/s", row.ops()));
    decode.forEach(row -> ops(text, "decode of " + row.sequences(), "GB/s", row.ops()));
    return text.toString();
  }

  private String shareOfReads(double gigabytesPerSecond) {
    return ceilings == null
        ? ""
        : String.format(
            Locale.ROOT,
            ", %.1f%% of ceiling",
            1e11 * gigabytesPerSecond / ceilings.readBytesPerSecond());
  }

  private static void ops(StringBuilder text, String phase, String unit, List<Op> ops) {
    for (Op op : ops) {
      line(
          text,
          "%5.1f%% of %s: %s  %.3f ms%s",
          100 * op.share(),
          phase,
          op.name(),
          op.millis(),
          op.rate() == null ? "" : String.format(Locale.ROOT, "  %.2f %s", op.rate(), unit));
    }
  }

  private static void line(StringBuilder text, String format, Object... arguments) {
    text.append(String.format(Locale.ROOT, format, arguments)).append(System.lineSeparator());
  }
}
