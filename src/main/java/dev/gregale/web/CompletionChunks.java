package dev.gregale.web;

import com.fasterxml.jackson.annotation.JsonInclude;
import com.fasterxml.jackson.annotation.JsonPropertyOrder;
import com.fasterxml.jackson.annotation.JsonUnwrapped;
import dev.gregale.engine.GenerationEvent;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * Turns the events of a request into the chunks of a stream. For one thread at a time.
 *
 * @param <L> the shape of the log-probabilities
 */
final class CompletionChunks<L> {
  private final Completion completion;
  private final ReplyFormat<L> format;
  private final List<SequenceOutput<L>> outputs;
  private final boolean[] begun;

  /**
   * A chunk of a stream with usage.
   *
   * @param chunk its other keys
   * @param usage null where the last event is to tell it
   */
  @JsonInclude(JsonInclude.Include.ALWAYS)
  @JsonPropertyOrder({"chunk", "usage"})
  private record WithUsage(@JsonUnwrapped Object chunk, @Nullable Usage usage) {}

  CompletionChunks(Completion completion, ReplyFormat<L> format, TokenTexts texts) {
    this.completion = completion;
    this.format = format;
    this.outputs = SequenceOutput.all(completion, format, texts);
    this.begun = new boolean[outputs.size()];
  }

  /**
   * The chunks that an event is worth: none while there is nothing to show yet. Experts wait for
   * the token that comes right behind them.
   */
  List<Object> of(GenerationEvent event) {
    List<Object> chunks = new ArrayList<>();
    int index = event.index();
    SequenceOutput<L> output = outputs.get(index);
    if (event instanceof GenerationEvent.Routed) {
      output.accept(event);
      return chunks;
    }
    boolean scored = event instanceof GenerationEvent.PromptScored;
    if (format.opens(completion) && !begun[index] && !scored) {
      chunks.add(chunk(output, output.take(index)));
    }
    output.accept(event);
    Piece<L> piece = output.take(index);
    if (piece.isNews()) {
      chunks.add(chunk(output, piece));
    }
    return chunks;
  }

  /** What follows the last event: the usage, where it was asked for. */
  List<Object> end() {
    outputs.forEach(SequenceOutput::requireFinished);
    return completion.usage() == Completion.StreamUsage.NONE
        ? List.of()
        : List.of(
            new WithUsage(format.chunk(completion, null, false), Usage.of(completion, outputs)));
  }

  private Object chunk(SequenceOutput<L> output, Piece<L> piece) {
    Object chunk = format.chunk(completion, piece, !begun[piece.index()]);
    begun[piece.index()] = true;
    return switch (completion.usage()) {
      case NONE -> chunk;
      case LAST -> new WithUsage(chunk, null);
      case EVERY -> new WithUsage(chunk, output.usage());
    };
  }
}
