package dev.gregale.model;

import dev.gregale.backend.Device;
import dev.gregale.backend.ExpertRouting;
import dev.gregale.backend.Tensor;
import dev.gregale.tensor.DType;
import java.util.Arrays;
import java.util.List;

/**
 * What fp32 holds of the choices of another run: its tokens and its experts are both forced on the
 * CPU's forward pass, so that one choice that was a toss-up does not count again in all that
 * follows from it.
 *
 * <p>Near-ties of a router are decided by the last bits of its input. A run in bf16 decides some of
 * them otherwise than fp32, and from there on its numbers are those of other weights. That is no
 * error, but it hides errors of the same size; with the experts given, what remains is rounding.
 *
 * <p>Legend: T tokens fed, L layers, E experts, K experts per token, V vocabulary.
 */
final class ForcedReference {

  /**
   * By how much an expert that was not chosen is ahead of one that was, see {@link
   * RouterLogits#deficit}.
   */
  record Deficit(double logits, int layer, int position) {
    static final Deficit NONE = new Deficit(Double.NEGATIVE_INFINITY, 0, 0);
  }

  /**
   * How far a run's choices are from those that fp32 would have made in their place.
   *
   * @param deficit of experts, the largest of all tokens and layers
   * @param gaps of each token of the output: the largest log-probability less the token's
   */
  record Doubt(Deficit deficit, double[] gaps) {}

  private final Device backend;
  private final ForwardFixture forward;
  private final MixtralConfig config;
  private int[] expertIds = {}; // [T, L, K]
  private int layer;
  private Deficit largest = Deficit.NONE;

  /**
   * @param backend the CPU's
   * @param precision of the demo model's weights
   * @param cacheDType of keys and values
   * @param maxLen the most tokens of a sequence
   */
  ForcedReference(Device backend, Precision precision, DType cacheDType, int maxLen) {
    this.backend = backend;
    this.forward = new ForwardFixture(backend, new Forced(), precision, cacheDType, maxLen);
    this.config = forward.config;
  }

  /**
   * @param tokens {@code [T + 1]}: prompt and output, the last of which was not fed
   * @param expertIds {@code [T, L, K]}
   */
  Doubt of(int[] tokens, int numPromptTokens, int[] expertIds) {
    int vocabSize = config.vocabSize();
    double[] gaps = new double[tokens.length - numPromptTokens];
    float[] logits = logits(Arrays.copyOf(tokens, tokens.length - 1), expertIds); // [T, V]
    for (int step = 0; step < gaps.length; step++) {
      int row = (numPromptTokens - 1 + step) * vocabSize;
      float best = Float.NEGATIVE_INFINITY;
      for (int i = 0; i < vocabSize; i++) {
        best = Math.max(best, logits[row + i]);
      }
      gaps[step] = (double) best - logits[row + tokens[numPromptTokens + step]];
    }
    return new Doubt(largest, gaps);
  }

  /**
   * {@code [T, V]}
   *
   * @param tokens {@code [T]}
   * @param expertIds {@code [T, L, K]}
   */
  float[] logits(int[] tokens, int[] expertIds) {
    this.expertIds = expertIds;
    layer = 0;
    largest = Deficit.NONE;
    return forward.logits(List.of(tokens));
  }

  /** The largest of the last call. */
  Deficit deficit() {
    return largest;
  }

  /** Experts that were not chosen are taken out of the choice; the weights are the CPU's own. */
  private final class Forced extends DelegatingKernels {

    Forced() {
      super(backend.kernels());
    }

    @Override
    public void routeTopK(ExpertRouting routing, Tensor routerLogits, int rows) {
      int e = config.numLocalExperts();
      int k = config.numExpertsPerTok();
      float[] logits = new float[rows * e];
      backend.read(routerLogits, logits, logits.length);
      for (int t = 0; t < rows; t++) {
        int at = (t * config.numHiddenLayers() + layer) * k;
        int[] chosen = Arrays.copyOfRange(expertIds, at, at + k);
        double deficit = RouterLogits.deficit(logits, t, config, chosen);
        if (deficit > largest.logits) {
          largest = new Deficit(deficit, layer, t);
        }
        for (int expert = 0; expert < e; expert++) {
          int candidate = expert;
          if (Arrays.stream(chosen).noneMatch(id -> id == candidate)) {
            logits[t * e + expert] = Float.NEGATIVE_INFINITY;
          }
        }
      }
      backend.write(routerLogits, logits, logits.length);
      super.routeTopK(routing, routerLogits, rows);
      layer++;
    }
  }
}
