package dev.gregale.engine;

import dev.gregale.sampling.BeamSearchParams;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.function.IntPredicate;
import org.jspecify.annotations.Nullable;

/**
 * The state of a beam search after one prompt, as Hugging Face's {@code generate} has it with
 * {@code early_stopping=False}: of the candidates at a place, those that end and are among the
 * {@code width} likeliest are kept as hypotheses, and the likeliest that do not end go on. The
 * search is over once no running beam, as long as it is now, would score above the worst of {@code
 * width} hypotheses.
 */
final class Beams {
  private final BeamSearchParams params;
  private final int maxTokens;
  private final IntPredicate isEos;
  private final List<Beam> finished = new ArrayList<>();
  private List<Beam> running = List.of(Beam.EMPTY);
  private int length;

  /**
   * Generated tokens.
   *
   * @param before all but the last
   * @param last null where there is none
   * @param logprob of all together
   * @param ended by an end-of-sequence token
   */
  record Beam(
      @Nullable Beam before,
      @Nullable TokenLogprob last,
      int length,
      double logprob,
      boolean ended) {
    static final Beam EMPTY = new Beam(null, null, 0, 0, false);

    /** In order. */
    List<TokenLogprob> tokens() {
      List<TokenLogprob> tokens = new ArrayList<>(length);
      for (Beam beam = this; beam != null && beam.last != null; beam = beam.before) {
        tokens.add(beam.last);
      }
      return tokens.reversed();
    }
  }

  /**
   * @param maxTokens that a sequence is generated at most, at least 1
   * @param isEos tells an end-of-sequence token
   */
  Beams(BeamSearchParams params, int maxTokens, IntPredicate isEos) {
    this.params = params;
    this.maxTokens = maxTokens;
    this.isEos = isEos;
  }

  /** The beams that go on; none once the search is over. */
  List<Beam> running() {
    return running;
  }

  /** The hypotheses so far, best first. */
  List<Beam> finished() {
    return finished;
  }

  /** What a hypothesis is ranked by. */
  double score(Beam beam) {
    return beam.logprob() / Math.pow(beam.length(), params.lengthPenalty());
  }

  /**
   * Goes on by one token.
   *
   * @param next at the end of each running beam: the likeliest tokens
   * @param reported how many of them each token keeps
   */
  void advance(List<TokenLogprob> next, int reported) {
    length++;
    List<Beam> candidates = new ArrayList<>();
    for (int i = 0; i < running.size(); i++) {
      candidates.addAll(continuations(running.get(i), next.get(i), reported));
    }
    candidates.sort(Comparator.comparingDouble(Beam::logprob).reversed());
    List<Beam> goingOn = new ArrayList<>();
    for (int rank = 0; rank < candidates.size(); rank++) {
      Beam candidate = candidates.get(rank);
      if (candidate.ended() || length == maxTokens) {
        finish(candidate, rank);
      } else if (goingOn.size() < params.width()) {
        goingOn.add(candidate);
      }
    }
    running = goingOn.isEmpty() || !canImprove(goingOn.getFirst()) ? List.of() : goingOn;
  }

  private List<Beam> continuations(Beam beam, TokenLogprob next, int reported) {
    int[] ids = next.topTokenIds();
    float[] logprobs = next.topLogprobs();
    int[] topIds = Arrays.copyOf(ids, Math.min(reported, ids.length));
    float[] topLogprobs = Arrays.copyOf(logprobs, topIds.length);
    List<Beam> continuations = new ArrayList<>(ids.length);
    for (int i = 0; i < ids.length; i++) {
      TokenLogprob token = new TokenLogprob(ids[i], logprobs[i], topIds, topLogprobs);
      continuations.add(
          new Beam(beam, token, length, beam.logprob() + logprobs[i], isEos.test(ids[i])));
    }
    return continuations;
  }

  private void finish(Beam candidate, int rank) {
    if (rank < params.width()) {
      finished.add(candidate);
      finished.sort(Comparator.comparingDouble(this::score).reversed());
      if (finished.size() > params.width()) {
        finished.removeLast();
      }
    }
  }

  private boolean canImprove(Beam best) {
    return finished.size() < params.width() || score(best) > score(finished.getLast());
  }
}
