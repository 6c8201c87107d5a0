package dev.gregale.engine;

import dev.gregale.model.StepOutput;
import dev.gregale.model.StepRunner;
import dev.gregale.sampling.SamplingParams;
import dev.gregale.scheduler.FakePagedModel;
import dev.gregale.scheduler.ScheduledBatch;
import java.util.ArrayDeque;
import java.util.Arrays;
import java.util.Queue;
import java.util.concurrent.Semaphore;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/**
 * {@link FakePagedModel} as the engine's model, with handles for a test to hold, watch, break it.
 */
final class FakeModel implements StepRunner {
  static final int VOCAB = 500;
  static final RoutingShape ROUTING = new RoutingShape(3, 300, 2);

  private final FakePagedModel paged;
  private final StepOutput output;
  private final int maxInFlight;

  /** Steps begun. */
  final AtomicInteger steps = new AtomicInteger();

  /** Called at the begin of each step. */
  volatile Consumer<ScheduledBatch> onStep = batch -> {};

  /** Called with the tokens of each step, which it may change. */
  volatile Consumer<int[]> onTokens = tokens -> {};

  /** Where not null, each step takes a permit. */
  volatile @Nullable Semaphore permits;

  /**
   * @param maxInFlight steps that may be under way at once
   */
  FakeModel(EngineLimits limits, int maxInFlight) {
    this.maxInFlight = maxInFlight;
    paged = new FakePagedModel(limits.numBlocks(), limits.blockSize(), VOCAB);
    int maxExpertIds = limits.maxNumBatchedTokens() * ROUTING.idsPerToken();
    output = new StepOutput(limits.maxLogitRows(), SamplingParams.MAX_LOGPROBS, maxExpertIds);
  }

  private final Queue<ScheduledBatch> inFlight = new ArrayDeque<>();

  @Override
  public int maxInFlight() {
    return maxInFlight;
  }

  @Override
  public void submit(ScheduledBatch batch) {
    inFlight.add(batch);
  }

  /** Runs the step as late as can be. */
  @Override
  public StepOutput await() {
    ScheduledBatch batch = inFlight.remove();
    steps.incrementAndGet();
    Semaphore gate = permits;
    if (gate != null) {
      gate.acquireUninterruptibly();
    }
    try {
      onStep.accept(batch);
    } catch (RuntimeException e) { // at its end, so that the step behind it finds the cache filled
      paged.run(batch, output.tokens, output.logprobs);
      throw e;
    }
    paged.run(batch, output.tokens, output.logprobs);
    for (int r = 0; r < batch.numLogitRows; r++) {
      for (int k = 0; k < batch.numLogprobs[r]; k++) {
        output.topTokens[r * output.topN + k] = (output.tokens[r] + k) % VOCAB;
        output.topLogprobs[r * output.topN + k] = output.logprobs[r] - k;
      }
    }
    for (int t = 0; t < batch.numTokens; t++) {
      for (int layer = 0; layer < ROUTING.numLayers(); layer++) {
        for (int k = 0; k < ROUTING.numExpertsPerTok(); k++) {
          int row = layer * batch.numTokens + t;
          output.expertIds[row * ROUTING.numExpertsPerTok() + k] =
              expert(batch.positions[t], layer, k);
        }
      }
    }
    onTokens.accept(output.tokens);
    return output;
  }

  /** The k-th expert of every token that stands at a position. */
  static int expert(int position, int layer, int k) {
    return (31 * position + 7 * layer + k) % ROUTING.numExperts();
  }

  /** What a sequence generates when nothing but max_tokens ends it. */
  static int[] generates(int[] prompt, long seed, int maxTokens) {
    int[] context = Arrays.copyOf(prompt, prompt.length + maxTokens);
    for (int n = prompt.length; n < context.length; n++) {
      context[n] = FakePagedModel.next(context, n, seed, VOCAB);
    }
    return Arrays.copyOfRange(context, prompt.length, context.length);
  }

  /** The text of tokens: each is its number in square brackets. */
  static String text(int... tokens) {
    StringBuilder text = new StringBuilder();
    for (int token : tokens) {
      text.append('[').append(token).append(']');
    }
    return text.toString();
  }

  static TextStreamFactory texts() {
    return (prompt, skipSpecialTokens) ->
        new TextStream() {
          @Override
          public String push(int token) {
            return text(token);
          }

          @Override
          public String peek() {
            return "";
          }

          @Override
          public String finish() {
            return "";
          }
        };
  }
}
