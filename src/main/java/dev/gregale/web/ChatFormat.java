package dev.gregale.web;

import dev.gregale.web.ChatResponse.Choice;
import dev.gregale.web.ChatResponse.ChunkChoice;
import dev.gregale.web.ChatResponse.Delta;
import dev.gregale.web.ChatResponse.Logprobs;
import java.util.List;
import org.jspecify.annotations.Nullable;
import org.springframework.stereotype.Component;

/** The answers of {@code /v1/chat/completions}. */
@Component
final class ChatFormat implements ReplyFormat<Logprobs> {
  private final TokenTexts texts;

  ChatFormat(TokenTexts texts) {
    this.texts = texts;
  }

  @Override
  public String operation() {
    return "chat";
  }

  @Override
  public LogprobsCollector<Logprobs> logprobs(Completion completion, int sequence) {
    return new ChatLogprobs(texts);
  }

  @Override
  public boolean opens(Completion completion) {
    return true;
  }

  @Override
  public Object response(Completion completion, List<Piece<Logprobs>> choices, Usage usage) {
    Piece<Logprobs> first = choices.getFirst();
    return new ChatResponse(
        completion,
        choices.stream().map(ChatFormat::choice).toList(),
        usage,
        first.promptLogprobs(),
        first.promptTokenIds());
  }

  private static Choice choice(Piece<Logprobs> piece) {
    return new Choice(
        piece.index(),
        new ChatResponse.Reply(piece.text()),
        piece.logprobs(),
        piece.finishReason(),
        piece.tokenIds(),
        piece.routedExperts());
  }

  @Override
  public Object chunk(Completion completion, @Nullable Piece<Logprobs> piece, boolean first) {
    if (piece == null) {
      return new ChatResponse.Chunk(completion, List.of(), null);
    }
    ChunkChoice choice =
        new ChunkChoice(
            piece.index(),
            delta(piece, first),
            piece.logprobs(),
            piece.finishReason(),
            piece.tokenIds(),
            piece.routedExperts());
    return new ChatResponse.Chunk(
        completion, List.of(choice), first ? piece.promptTokenIds() : null);
  }

  private static Delta delta(Piece<Logprobs> piece, boolean first) {
    if (first) {
      return new Delta(ChatResponse.ASSISTANT, piece.text());
    }
    boolean onlyEnds = piece.finishReason() != null && piece.text().isEmpty();
    return new Delta(null, onlyEnds ? null : piece.text());
  }
}
