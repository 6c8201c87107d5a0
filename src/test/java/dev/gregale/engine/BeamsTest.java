package dev.gregale.engine;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gregale.engine.Beams.Beam;
import dev.gregale.sampling.BeamSearchParams;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.TreeMap;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;

/** Beam search over random small models, against all there is to be found. */
class BeamsTest {
  private static final int VOCAB = 3;
  private static final int EOS = 0;
  private static final int LENGTH = 4;

  /** The log-probabilities of the next token, by the tokens before. */
  private static final class Model {
    private final Map<List<Integer>, double[]> next =
        new TreeMap<>(Comparator.comparing(List::toString));
    private final Random random;

    Model(long seed) {
      random = new Random(seed);
    }

    double[] after(List<Integer> tokens) {
      return next.computeIfAbsent(
          tokens,
          t -> {
            double[] logits = random.doubles(VOCAB, -3, 3).toArray();
            double sum = IntStream.range(0, VOCAB).mapToDouble(i -> Math.exp(logits[i])).sum();
            return IntStream.range(0, VOCAB).mapToDouble(i -> logits[i] - Math.log(sum)).toArray();
          });
    }

    TokenLogprob likeliest(List<Integer> tokens) {
      double[] logprobs = after(tokens);
      int[] ids =
          IntStream.range(0, VOCAB)
              .boxed()
              .sorted(Comparator.comparingDouble(i -> -logprobs[i]))
              .mapToInt(Integer::intValue)
              .toArray();
      float[] sorted = new float[VOCAB];
      for (int i = 0; i < VOCAB; i++) {
        sorted[i] = (float) logprobs[ids[i]];
      }
      return new TokenLogprob(ids[0], sorted[0], ids, sorted);
    }
  }

  private record Found(List<Integer> tokens, double score) {}

  /** So wide that nothing is cut, beam search ranks every sequence that there is. */
  @Test
  void aWideSearchFindsTheBest() {
    for (int seed = 0; seed < 200; seed++) {
      Model model = new Model(seed);
      double penalty = new double[] {0, 0.6, 1, 2, -1}[seed % 5];
      List<Found> all = new ArrayList<>();
      enumerate(model, penalty, List.of(), 0, all);
      all.sort(Comparator.comparingDouble(Found::score).reversed());
      // 2 + 4 + 8 sequences are running at most, and what ended is among as many.
      List<Found> found = search(model, new BeamSearchParams(64, penalty), LENGTH);
      assertEquals(all.size(), found.size(), "seed " + seed);
      for (int i = 0; i < all.size(); i++) {
        assertEquals(all.get(i).tokens(), found.get(i).tokens(), "seed " + seed);
        assertEquals(all.get(i).score(), found.get(i).score(), 1e-5, "seed " + seed);
      }
    }
  }

  private static void enumerate(
      Model model, double penalty, List<Integer> tokens, double logprob, List<Found> all) {
    boolean over = tokens.size() == LENGTH || !tokens.isEmpty() && tokens.getLast() == EOS;
    if (over) {
      all.add(new Found(tokens, logprob / Math.pow(tokens.size(), penalty)));
      return;
    }
    for (int token = 0; token < VOCAB; token++) {
      List<Integer> more = new ArrayList<>(tokens);
      more.add(token);
      enumerate(model, penalty, more, logprob + model.after(tokens)[token], all);
    }
  }

  private static List<Found> search(Model model, BeamSearchParams params, int maxTokens) {
    Beams beams = new Beams(params, maxTokens, token -> token == EOS);
    while (!beams.running().isEmpty()) {
      assertTrue(beams.running().size() <= params.width());
      beams.advance(beams.running().stream().map(b -> model.likeliest(ids(b))).toList(), 1);
    }
    return beams.finished().stream().map(b -> new Found(ids(b), beams.score(b))).toList();
  }

  private static List<Integer> ids(Beam beam) {
    return beam.tokens().stream().map(TokenLogprob::tokenId).toList();
  }

  /** A beam is followed while it may become better than the worst that is kept, and no longer. */
  @Test
  void theSearchEndsWhenNothingBetterCanCome() {
    Beams beams = new Beams(new BeamSearchParams(1, 1), 50, token -> token == EOS);
    beams.advance(List.of(next(1, -0.1f, EOS, -3f)), 0);
    assertEquals(1, beams.running().size());
    assertEquals(0, beams.finished().size(), "the end was second, beyond the width");
    beams.advance(List.of(next(EOS, -0.2f, 1, -2f)), 0);
    assertEquals(List.of(), beams.running(), "-2.1 / 2 is below -0.3 / 2");
    assertEquals(List.of(1, EOS), ids(beams.finished().getFirst()));
    assertEquals(-0.15, beams.score(beams.finished().getFirst()), 1e-6);

    Beams favoursLong = new Beams(new BeamSearchParams(2, 4), 3, token -> token == EOS);
    favoursLong.advance(List.of(next(EOS, -0.1f, 1, -3f)), 0);
    assertEquals(1, favoursLong.running().size(), "one of two was found");
    favoursLong.advance(List.of(next(1, -0.1f, EOS, -9f)), 0);
    favoursLong.advance(List.of(next(2, -0.1f, 1, -4f)), 0);
    List<Beam> found = favoursLong.finished();
    assertEquals(List.of(1, 1, 2), ids(found.getFirst()), "-3.2 / 3^4 is above -0.1");
    assertEquals(2, found.size());
  }

  @Test
  void tokensKeepTheAlternativesThatAreReported() {
    Beams beams = new Beams(new BeamSearchParams(2, 1), 1, token -> false);
    beams.advance(List.of(next(5, -0.5f, 6, -1f)), 1);
    TokenLogprob second = beams.finished().get(1).tokens().getFirst();
    assertEquals(6, second.tokenId());
    assertEquals(-1f, second.logprob());
    assertEquals(1, second.topTokenIds().length);
    assertEquals(5, second.topTokenIds()[0]);
  }

  private static TokenLogprob next(int first, float logprob, int second, float secondLogprob) {
    return new TokenLogprob(
        first, logprob, new int[] {first, second}, new float[] {logprob, secondLogprob});
  }
}
