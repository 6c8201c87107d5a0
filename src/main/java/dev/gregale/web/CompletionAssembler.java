package dev.gregale.web;

import dev.gregale.engine.GenerationEvent;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;

/**
 * Collects the events of a request into one response. Not safe for use by several threads.
 *
 * @param <L> the shape of the log-probabilities
 */
final class CompletionAssembler<L> {
  private final Completion completion;
  private final ReplyFormat<L> format;
  private final List<SequenceOutput<L>> outputs;

  CompletionAssembler(Completion completion, ReplyFormat<L> format, TokenTexts texts) {
    this.completion = completion;
    this.format = format;
    this.outputs = SequenceOutput.all(completion, format, texts);
  }

  void accept(GenerationEvent event) {
    outputs.get(event.index()).accept(event);
  }

  Object response() {
    outputs.forEach(SequenceOutput::requireFinished);
    int bestOf = completion.generation().n();
    List<Piece<L>> choices = new ArrayList<>();
    for (int first = 0; first < outputs.size(); first += bestOf) {
      for (SequenceOutput<L> output : best(outputs.subList(first, first + bestOf))) {
        choices.add(output.take(choices.size()));
      }
    }
    return format.response(completion, choices, Usage.of(completion, outputs));
  }

  /** The n answers to a prompt: all of them as they came, or the best ones first. */
  private List<SequenceOutput<L>> best(List<SequenceOutput<L>> ofPrompt) {
    return ofPrompt.size() == completion.n()
        ? ofPrompt
        : ofPrompt.stream()
            .sorted(
                Comparator.<SequenceOutput<L>>comparingDouble(SequenceOutput::meanLogprob)
                    .reversed())
            .limit(completion.n())
            .toList();
  }
}
