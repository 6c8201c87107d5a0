package dev.gregale.web;

import dev.gregale.engine.GenerationEvent;
import java.util.List;
import java.util.Locale;
import java.util.Set;
import java.util.TreeSet;

/** How far the engine has come with a request. For one thread at a time. */
final class GenerationProgress {
  private final String requestId;
  private final long start = System.nanoTime();
  private final Set<String> finishReasons = new TreeSet<>();
  private long firstToken;
  private long lastToken;
  private int promptTokens;
  private int completionTokens;

  /**
   * @param requestId of the HTTP exchange
   */
  GenerationProgress(String requestId) {
    this.requestId = requestId;
  }

  String requestId() {
    return requestId;
  }

  void accept(GenerationEvent event) {
    switch (event) {
      case GenerationEvent.PromptScored scored -> {}
      case GenerationEvent.Routed routed -> {}
      case GenerationEvent.Tokens tokens -> {
        lastToken = System.nanoTime();
        if (completionTokens == 0) {
          firstToken = lastToken;
        }
        completionTokens += tokens.tokens().size();
      }
      case GenerationEvent.Finished finished -> {
        promptTokens += finished.promptTokens();
        finishReasons.add(finished.reason().name().toLowerCase(Locale.ROOT));
      }
    }
  }

  int promptTokens() {
    return promptTokens;
  }

  int completionTokens() {
    return completionTokens;
  }

  /** Why its sequences ended, as far as they have. */
  List<String> finishReasons() {
    return List.copyOf(finishReasons);
  }

  /** From the start to the first token; -1 if there was none. */
  long firstTokenNanos() {
    return completionTokens == 0 ? -1 : firstToken - start;
  }

  /** Between tokens, whichever sequence they are of; -1 if there were not two. */
  long meanNanosPerToken() {
    return completionTokens < 2 ? -1 : (lastToken - firstToken) / (completionTokens - 1);
  }

  long elapsedNanos() {
    return System.nanoTime() - start;
  }
}
