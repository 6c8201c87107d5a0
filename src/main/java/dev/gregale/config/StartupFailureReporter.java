package dev.gregale.config;

import org.springframework.boot.diagnostics.FailureAnalysis;
import org.springframework.boot.diagnostics.FailureAnalysisReporter;

/** One line on standard error instead of a stack trace or a page. */
final class StartupFailureReporter implements FailureAnalysisReporter {

  StartupFailureReporter() {}

  @Override
  public void report(FailureAnalysis analysis) {
    StringBuilder line = new StringBuilder("gregale: ").append(analysis.getDescription());
    if (analysis.getAction() != null && !analysis.getAction().isBlank()) {
      line.append(" - ").append(analysis.getAction());
    }
    System.err.println(line.toString().strip().replaceAll("\\s*\\R\\s*", "; "));
  }
}
