package dev.gregale.web;

import dev.gregale.engine.TokenLogprob;
import dev.gregale.web.ChatResponse.Logprobs;
import dev.gregale.web.ChatResponse.TokenEntry;
import dev.gregale.web.ChatResponse.TopEntry;
import dev.gregale.web.TokenTexts.TokenText;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** Collects log-probabilities in the shape of chat completions. */
final class ChatLogprobs implements LogprobsCollector<Logprobs> {
  private final TokenTexts texts;
  private List<TokenEntry> pending = new ArrayList<>();

  ChatLogprobs(TokenTexts texts) {
    this.texts = texts;
  }

  @Override
  public void addPrompt(List<TokenLogprob> tokens) {
    add(tokens);
  }

  @Override
  public void add(List<TokenLogprob> tokens) {
    for (TokenLogprob token : tokens) {
      TokenText text = texts.inside(token.tokenId());
      pending.add(
          new TokenEntry(
              text.shown(),
              LogprobsCollector.finite(token.logprob()),
              text.bytes(),
              likeliest(token)));
    }
  }

  private List<TopEntry> likeliest(TokenLogprob token) {
    List<TopEntry> likeliest = new ArrayList<>();
    for (int i = 0; i < token.topTokenIds().length; i++) {
      TokenText text = texts.inside(token.topTokenIds()[i]);
      likeliest.add(
          new TopEntry(
              text.shown(), LogprobsCollector.finite(token.topLogprobs()[i]), text.bytes()));
    }
    return likeliest;
  }

  @Override
  public @Nullable Logprobs take() {
    List<TokenEntry> taken = pending;
    pending = new ArrayList<>();
    return taken.isEmpty() ? null : new Logprobs(taken, null);
  }
}
