package dev.gregale.config;

import org.springframework.boot.diagnostics.AbstractFailureAnalyzer;
import org.springframework.boot.diagnostics.FailureAnalysis;

/** Takes the one message that matters out of the exceptions around it. */
final class StartupFailureAnalyzer extends AbstractFailureAnalyzer<StartupException> {

  StartupFailureAnalyzer() {}

  @Override
  protected FailureAnalysis analyze(Throwable rootFailure, StartupException cause) {
    return new FailureAnalysis(cause.getMessage(), null, cause);
  }
}
