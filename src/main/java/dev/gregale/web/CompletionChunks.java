package dev.gregale.web;

import dev.gregale.engine.GenerationEvent;
import dev.gregale.web.CompletionResponse.Choice;
import dev.gregale.web.CompletionResponse.Logprobs;
import dev.gregale.web.CompletionResponse.Usage;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** Turns the events of a request into the chunks of a stream. For one thread at a time. */
final class CompletionChunks {
  private final Completion completion;
  private final List<@Nullable LogprobsFormatter> logprobs = new ArrayList<>();
  private final boolean[] begun;
  private int unfinished;
  private int completionTokens;

  CompletionChunks(Completion completion, TokenTexts texts) {
    this.completion = completion;
    this.unfinished = completion.generation().numSequences();
    this.begun = new boolean[unfinished];
    for (int i = 0; i < unfinished; i++) {
      logprobs.add(completion.logprobsFormatter(texts, i));
    }
  }

  /** The chunks that an event is worth: none while there is nothing to show yet. */
  List<Object> of(GenerationEvent event) {
    List<Object> chunks = new ArrayList<>();
    int index = event.index();
    LogprobsFormatter formatter = logprobs.get(index);
    if (event instanceof GenerationEvent.PromptScored scored && formatter != null) {
      formatter.addPrompt(scored.tokens());
    }
    if (completion.echo() && !begun[index]) {
      begun[index] = true;
      chunks.add(chunk(index, completion.promptOf(index).text(), take(formatter), null));
    }
    switch (event) {
      case GenerationEvent.PromptScored scored -> {}
      case GenerationEvent.Tokens tokens -> {
        if (formatter != null) {
          formatter.add(tokens.tokens());
        }
        Logprobs added = take(formatter);
        if (!tokens.text().isEmpty() || added != null) {
          chunks.add(chunk(index, tokens.text(), added, null));
        }
      }
      case GenerationEvent.Finished finished -> {
        completionTokens += finished.completionTokens();
        unfinished--;
        chunks.add(chunk(index, "", null, FinishReasons.of(finished.reason())));
      }
    }
    return chunks;
  }

  /** What follows the last event: the usage, where it was asked for. */
  List<Object> end() {
    if (unfinished != 0) {
      throw new IllegalStateException("The engine ended " + completion.id() + " too early");
    }
    return completion.includeUsage()
        ? List.of(
            new CompletionResponse(completion, List.of(), Usage.of(completion, completionTokens)))
        : List.of();
  }

  private Object chunk(
      int index, String text, @Nullable Logprobs logprobs, @Nullable String finishReason) {
    Choice choice = new Choice(text, index, logprobs, finishReason);
    return completion.includeUsage()
        ? new CompletionResponse(completion, List.of(choice), null)
        : new CompletionResponse.Chunk(completion, choice);
  }

  private static @Nullable Logprobs take(@Nullable LogprobsFormatter formatter) {
    return formatter == null ? null : formatter.take();
  }
}
