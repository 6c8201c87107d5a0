package dev.gregale.web;

import dev.gregale.engine.TokenLogprob;
import dev.gregale.web.CompletionResponse.Logprobs;
import dev.gregale.web.TokenTexts.TokenText;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/** Collects log-probabilities in the shape of text completions. */
final class CompletionLogprobs implements LogprobsCollector<Logprobs> {
  private final TokenTexts texts;
  private final boolean skipSpecialTokens;
  private final int promptLength;
  private final int top;
  private boolean atStart;
  private int offset;
  private Logprobs pending = empty();

  CompletionLogprobs(Completion completion, int sequence, TokenTexts texts) {
    Prompt prompt = completion.promptOf(sequence);
    this.texts = texts;
    this.skipSpecialTokens = completion.generation().params().skipSpecialTokens();
    this.top = completion.report().logprobs();
    this.promptLength = TokenTexts.length(prompt.text());
    this.offset = promptLength;
    this.atStart = promptLength == 0;
  }

  @Override
  public void addPrompt(List<TokenLogprob> tokens) {
    offset = 0;
    atStart = true;
    add(tokens);
    offset = promptLength;
    atStart = promptLength == 0;
  }

  @Override
  public void add(List<TokenLogprob> tokens) {
    for (TokenLogprob token : tokens) {
      TokenText text = textOf(token.tokenId());
      pending.tokens().add(text.shown());
      pending.textOffset().add(offset);
      boolean unknown = Float.isNaN(token.logprob());
      pending.tokenLogprobs().add(unknown ? null : LogprobsCollector.finite(token.logprob()));
      pending.topLogprobs().add(unknown ? null : top(token, text.shown()));
      if (!isSkipped(text)) {
        offset += text.length();
        atStart = false;
      }
    }
  }

  @Override
  public @Nullable Logprobs take() {
    Logprobs taken = pending;
    pending = empty();
    return taken.tokens().isEmpty() ? null : taken;
  }

  /** The likeliest tokens first; of two with the same text the likelier one stays. */
  private Map<String, Float> top(TokenLogprob token, String shown) {
    Map<String, Float> likeliest = new LinkedHashMap<>();
    for (int i = 0; i < Math.min(top, token.topTokenIds().length); i++) {
      int id = token.topTokenIds()[i];
      String text = id == token.tokenId() ? shown : textOf(id).shown();
      likeliest.merge(text, LogprobsCollector.finite(token.topLogprobs()[i]), Math::max);
    }
    likeliest.merge(shown, LogprobsCollector.finite(token.logprob()), Math::max);
    return likeliest;
  }

  private TokenText textOf(int id) {
    TokenText inside = texts.inside(id);
    return atStart && !isSkipped(inside) ? texts.first(id, skipSpecialTokens) : inside;
  }

  private boolean isSkipped(TokenText text) {
    return skipSpecialTokens && text.special();
  }

  private static Logprobs empty() {
    return new Logprobs(new ArrayList<>(), new ArrayList<>(), new ArrayList<>(), new ArrayList<>());
  }
}
