package dev.gregale.web;

import dev.gregale.web.CompletionResponse.Choice;
import dev.gregale.web.CompletionResponse.Logprobs;
import java.util.List;
import org.jspecify.annotations.Nullable;
import org.springframework.stereotype.Component;

/** The answers of {@code /v1/completions}. */
@Component
final class CompletionFormat implements ReplyFormat<Logprobs> {
  private final TokenTexts texts;

  CompletionFormat(TokenTexts texts) {
    this.texts = texts;
  }

  @Override
  public String operation() {
    return "text_completion";
  }

  @Override
  public LogprobsCollector<Logprobs> logprobs(Completion completion, int sequence) {
    return new CompletionLogprobs(completion, sequence, texts);
  }

  @Override
  public boolean opens(Completion completion) {
    return completion.report().echo();
  }

  @Override
  public Object response(Completion completion, List<Piece<Logprobs>> choices, Usage usage) {
    return new CompletionResponse(
        completion, choices.stream().map(piece -> choice(piece, true)).toList(), usage);
  }

  @Override
  public Object chunk(Completion completion, @Nullable Piece<Logprobs> piece, boolean first) {
    return new CompletionResponse.Chunk(
        completion, piece == null ? List.of() : List.of(choice(piece, first)));
  }

  private static Choice choice(Piece<Logprobs> piece, boolean first) {
    return new Choice(
        piece.text(),
        piece.index(),
        piece.logprobs(),
        piece.finishReason(),
        piece.promptLogprobs(),
        first ? piece.promptTokenIds() : null,
        piece.tokenIds(),
        piece.routedExperts());
  }
}
