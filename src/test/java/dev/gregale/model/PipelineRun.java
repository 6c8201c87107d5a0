package dev.gregale.model;

import dev.gregale.backend.Backend;
import dev.gregale.backend.ModelOps;
import dev.gregale.engine.StepPipeline;
import dev.gregale.scheduler.ScheduledBatch;
import dev.gregale.scheduler.Scheduler;
import dev.gregale.scheduler.SchedulerConfig;
import dev.gregale.scheduler.Sequence;
import java.util.Arrays;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Map;

/**
 * The demo model under the scheduler, steps run ahead and recorded as in the engine; keeps the
 * experts that each step brought back.
 */
final class PipelineRun {
  private static final int MAX_LEN = 256;
  private final Scheduler scheduler;
  private final StepPipeline pipeline;
  private final int numLayers;
  private final int expertsPerToken;
  private final Map<Sequence, int[]> expertIds = new IdentityHashMap<>(); // each [T, L, K]

  /**
   * @param ops the backend's, or a decorator of them, with which nothing is recorded
   */
  PipelineRun(Backend backend, ModelOps ops, int maxSeqs) {
    int blockSize = backend.kvBlockSize();
    SchedulerConfig limits =
        new SchedulerConfig(maxSeqs, MAX_LEN, MAX_LEN, blockSize, 512, MAX_LEN, 64, true);
    try (ModelLoader loader =
        ModelLoader.open(Golden.DEMO_MODEL, LoadFormat.AUTO, Precision.AS_STORED)) {
      MixtralConfig config = loader.config();
      numLayers = config.numHiddenLayers();
      expertsPerToken = config.numExpertsPerTok();
      backend.reserve(ModelRunner.workspaceLimits(config, MAX_LEN, maxSeqs, MAX_LEN));
      ModelRunner runner =
          new ModelRunner(
              backend,
              ops,
              config,
              loader.upload(backend, MAX_LEN, layer -> {}),
              KvCache.allocate(backend, config, 512, blockSize, backend.kvCacheDType()),
              MAX_LEN,
              maxSeqs,
              MAX_LEN,
              limits.maxBlocksPerSeq(),
              20);
      scheduler = new Scheduler(limits);
      pipeline = new StepPipeline(scheduler, limits, runner);
    }
  }

  void finish(List<Sequence> sequences) {
    sequences.forEach(scheduler::add);
    while (scheduler.hasWork()) {
      if (pipeline.schedule() != null) {
        pipeline.submit();
      } else {
        ScheduledBatch batch = pipeline.oldest();
        StepOutput output = pipeline.await();
        keepExpertIds(batch, output);
        scheduler.update(batch, output.tokens);
      }
    }
    while (!pipeline.isEmpty()) { // behind the last end
      pipeline.await();
    }
  }

  private void keepExpertIds(ScheduledBatch batch, StepOutput output) {
    int k = expertsPerToken;
    for (int s = 0; s < batch.numSeqs(); s++) {
      int[] ids = expertIds.computeIfAbsent(batch.sequences.get(s), sequence -> noneKnown());
      for (int t = batch.cuSeqLens[s]; t < batch.cuSeqLens[s + 1]; t++) {
        for (int layer = 0; layer < numLayers; layer++) {
          int from = (layer * batch.numTokens + t) * k;
          int to = (batch.positions[t] * numLayers + layer) * k;
          System.arraycopy(output.expertIds, from, ids, to, k);
        }
      }
    }
  }

  private int[] noneKnown() {
    int[] ids = new int[MAX_LEN * numLayers * expertsPerToken];
    Arrays.fill(ids, -1);
    return ids;
  }

  /**
   * The experts that the tokens of a finished sequence went to, all but its last token, which was
   * not fed: {@code [T, L, K]}; -1 where no step brought them.
   */
  int[] expertIds(Sequence sequence) {
    int tokens = sequence.numTokens() - 1;
    return Arrays.copyOf(
        expertIds.getOrDefault(sequence, noneKnown()), tokens * numLayers * expertsPerToken);
  }
}
