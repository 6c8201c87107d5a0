package dev.gregale.engine;

import dev.gregale.sampling.SamplingParams;
import dev.gregale.scheduler.Sequence;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.atomic.AtomicBoolean;
import org.jspecify.annotations.Nullable;

/**
 * One sequence of a request inside the engine. {@link #sequence} belongs to the loop's thread;
 * everything else but {@link #end} to the output thread.
 */
final class ActiveSequence {
  private final ActiveRequest request;
  private final int index;
  private final int[] promptTokens;
  private final Sequence sequence;
  private final AtomicBoolean ended = new AtomicBoolean();
  private @Nullable SequenceText text;
  private @Nullable List<TokenLogprob> promptScores;
  private final @Nullable RoutingTrace routing;
  private int completionTokens;
  private long firstTokenNanos;
  private long lastTokenNanos;

  ActiveSequence(ActiveRequest request, int index, int[] promptTokens, Sequence sequence) {
    this.request = request;
    this.index = index;
    this.promptTokens = promptTokens;
    this.sequence = sequence;
    if (params().promptLogprobs() >= 0) {
      promptScores = new ArrayList<>();
    }
    routing =
        params().returnRoutedExperts() ? new RoutingTrace(request.routing().idsPerToken()) : null;
  }

  ActiveRequest request() {
    return request;
  }

  /** Which of the request's sequences. */
  int index() {
    return index;
  }

  Sequence sequence() {
    return sequence;
  }

  SamplingParams params() {
    return request.params();
  }

  int numPromptTokens() {
    return promptTokens.length;
  }

  /** Ends it towards the reader; true for the first caller only. */
  boolean end() {
    return ended.compareAndSet(false, true);
  }

  boolean ended() {
    return ended.get();
  }

  /** Its text, opened when first asked for. */
  SequenceText text(TextStreamFactory streams) {
    if (text == null) {
      text = new SequenceText(streams.open(promptTokens, params().skipSpecialTokens()), params());
    }
    return text;
  }

  /** Its text if any token has come. */
  @Nullable SequenceText textIfOpen() {
    return text;
  }

  void addPromptScore(TokenLogprob score) {
    if (promptScores != null) {
      promptScores.add(score);
    }
  }

  /** The prompt's scores, once, where they were asked for; else null. */
  @Nullable List<TokenLogprob> takePromptScores() {
    if (promptScores == null) {
      return null;
    }
    List<TokenLogprob> scores = new ArrayList<>(promptTokens.length);
    scores.add(TokenLogprob.unscored(promptTokens[0]));
    scores.addAll(promptScores);
    promptScores = null;
    return List.copyOf(scores);
  }

  void addRouting(int firstPosition, short[] expertIds) {
    if (routing != null) {
      routing.add(firstPosition, expertIds);
    }
  }

  /**
   * The experts of its tokens since the last call, {@code [tokens, L, K]}; null if there is none.
   */
  short @Nullable [] takeRouting() {
    return routing == null ? null : routing.take();
  }

  int completionTokens() {
    return completionTokens;
  }

  /** When its first token came, if any has. */
  long firstTokenNanos() {
    return firstTokenNanos;
  }

  /** When its last token so far came, if any has. */
  long lastTokenNanos() {
    return lastTokenNanos;
  }

  /** Counts a token that came just now; returns the nanoseconds since the one before, or -1. */
  long countToken(long now) {
    long since = completionTokens == 0 ? -1 : now - lastTokenNanos;
    if (completionTokens == 0) {
      firstTokenNanos = now;
    }
    completionTokens++;
    lastTokenNanos = now;
    return since;
  }
}
