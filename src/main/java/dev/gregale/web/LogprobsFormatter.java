package dev.gregale.web;

import dev.gregale.engine.TokenLogprob;
import dev.gregale.web.CompletionResponse.Logprobs;
import dev.gregale.web.TokenTexts.TokenText;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/** Collects the log-probabilities of one sequence in OpenAI's shape. */
final class LogprobsFormatter {
  /** JSON has no infinity; vLLM's figure for "never". */
  private static final float LOWEST = -9999;

  private final TokenTexts texts;
  private final boolean skipSpecialTokens;
  private final int promptLength;
  private boolean atStart;
  private int offset;
  private Logprobs pending = empty();

  LogprobsFormatter(TokenTexts texts, Prompt prompt, boolean skipSpecialTokens) {
    this.texts = texts;
    this.skipSpecialTokens = skipSpecialTokens;
    this.promptLength = TokenTexts.length(prompt.text());
    this.offset = promptLength;
    this.atStart = promptLength == 0;
  }

  /** Adds the whole prompt. */
  void addPrompt(List<TokenLogprob> tokens) {
    offset = 0;
    atStart = true;
    add(tokens);
    offset = promptLength;
    atStart = promptLength == 0;
  }

  /** Adds tokens that follow those before. */
  void add(List<TokenLogprob> tokens) {
    for (TokenLogprob token : tokens) {
      TokenText text = textOf(token.tokenId());
      pending.tokens().add(text.shown());
      pending.textOffset().add(offset);
      boolean unknown = Float.isNaN(token.logprob());
      pending.tokenLogprobs().add(unknown ? null : finite(token.logprob()));
      pending.topLogprobs().add(unknown ? null : top(token, text.shown()));
      if (!isSkipped(text)) {
        offset += text.length();
        atStart = false;
      }
    }
  }

  /** What was added since the last call; null if nothing was. */
  @Nullable Logprobs take() {
    Logprobs taken = pending;
    pending = empty();
    return taken.tokens().isEmpty() ? null : taken;
  }

  /** The likeliest tokens first; of two with the same text the likelier one stays. */
  private Map<String, Float> top(TokenLogprob token, String shown) {
    Map<String, Float> top = new LinkedHashMap<>();
    for (int i = 0; i < token.topTokenIds().length; i++) {
      int id = token.topTokenIds()[i];
      String text = id == token.tokenId() ? shown : textOf(id).shown();
      top.merge(text, finite(token.topLogprobs()[i]), Math::max);
    }
    top.merge(shown, finite(token.logprob()), Math::max);
    return top;
  }

  private TokenText textOf(int id) {
    TokenText inside = texts.inside(id);
    return atStart && !isSkipped(inside) ? texts.first(id, skipSpecialTokens) : inside;
  }

  private boolean isSkipped(TokenText text) {
    return skipSpecialTokens && text.special();
  }

  private static Float finite(float logprob) {
    return Math.max(logprob, LOWEST);
  }

  private static Logprobs empty() {
    return new Logprobs(new ArrayList<>(), new ArrayList<>(), new ArrayList<>(), new ArrayList<>());
  }
}
