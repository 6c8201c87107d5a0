package dev.gregale.engine;

import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/** Adds one sequence's events up. */
final class ResultCollector {
  private final StringBuilder text = new StringBuilder();
  private final List<TokenLogprob> tokens = new ArrayList<>();
  private final List<short[]> expertIds = new ArrayList<>();
  private List<TokenLogprob> promptScores = List.of();
  private GenerationEvent.@Nullable Finished end;

  void add(GenerationEvent event) {
    switch (event) {
      case GenerationEvent.PromptScored scored -> promptScores = scored.tokens();
      case GenerationEvent.Routed routed -> expertIds.add(routed.expertIds());
      case GenerationEvent.Tokens more -> {
        text.append(more.text());
        tokens.addAll(more.tokens());
      }
      case GenerationEvent.Finished last -> end = last;
    }
  }

  GenerationResult result() {
    return new GenerationResult(
        text.toString(),
        tokens,
        promptScores,
        allExpertIds(),
        Objects.requireNonNull(end, "no last event"));
  }

  private short[] allExpertIds() {
    short[] all = new short[expertIds.stream().mapToInt(piece -> piece.length).sum()];
    int length = 0;
    for (short[] piece : expertIds) {
      System.arraycopy(piece, 0, all, length, piece.length);
      length += piece.length;
    }
    return all;
  }
}
