package dev.gregale.engine;

import dev.gregale.sampling.FinishReason;
import java.util.List;

/** What the engine tells of one sequence of a request, in order. */
public sealed interface GenerationEvent {

  /** Which of the request's sequences: {@code promptIndex * n + i}. */
  int index();

  /**
   * The prompt has been scored; sent once, before any token, if promptLogprobs were asked for.
   *
   * @param tokens one per prompt token
   */
  record PromptScored(int index, List<TokenLogprob> tokens) implements GenerationEvent {}

  /**
   * The experts of tokens that the model was fed, where they were asked for: in order and without a
   * gap, those of the prompt first. What the last drawn token would go to, nobody has computed.
   *
   * @param expertIds {@code [tokens, L, K]}, see {@link EngineInfo#routing}
   */
  record Routed(int index, short[] expertIds) implements GenerationEvent {}

  /**
   * New text.
   *
   * @param text what the tokens add to the text; may be empty while a character or a possible stop
   *     string is incomplete
   * @param tokens the tokens that are new since the last event, with log-probabilities where asked
   */
  record Tokens(int index, String text, List<TokenLogprob> tokens) implements GenerationEvent {}

  /**
   * The sequence ended; its last event.
   *
   * @param promptTokens tokens of its prompt
   * @param cachedTokens how many of them were computed before, for another sequence
   * @param completionTokens tokens generated for it
   */
  record Finished(
      int index, FinishReason reason, int promptTokens, int cachedTokens, int completionTokens)
      implements GenerationEvent {}
}
