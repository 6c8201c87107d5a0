package dev.gregale.scheduler;

import dev.gregale.sampling.SamplingParams;
import dev.gregale.sampling.SamplingParamsBuilder;
import java.util.Arrays;

/** A scheduler, with what is asked of it and what comes of a step. */
abstract class SchedulerFixture {
  static final int[] EOS = {2};
  static final int MAX_MODEL_LEN = 32;

  SchedulerConfig config = config(4, 16, 16, 16);
  Scheduler scheduler = new Scheduler(config);
  ScheduledBatch batch = config.newBatch();

  static SchedulerConfig config(int seqs, int tokens, int blocks, int rows) {
    return new SchedulerConfig(seqs, tokens, MAX_MODEL_LEN, 4, blocks, rows, 8, false);
  }

  void use(SchedulerConfig other) {
    config = other;
    scheduler = new Scheduler(config);
    batch = config.newBatch();
  }

  Sequence add(int promptLength, SamplingParamsBuilder params) {
    int[] prompt = new int[promptLength];
    Arrays.setAll(prompt, i -> 10 + i);
    Sequence sequence = new Sequence(prompt, params.build(), 7, EOS, MAX_MODEL_LEN, null);
    scheduler.add(sequence);
    return sequence;
  }

  static SamplingParamsBuilder params() {
    return SamplingParams.builder();
  }

  /** One step in which every drawn token is {@code token}. */
  void step(int token) {
    scheduler.schedule(batch);
    int[] sampled = new int[config.maxLogitRows()];
    Arrays.fill(sampled, token);
    scheduler.update(batch, sampled);
  }
}
