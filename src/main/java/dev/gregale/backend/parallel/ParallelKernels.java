package dev.gregale.backend.parallel;

import static dev.gregale.backend.parallel.RankViews.part;

import dev.gregale.backend.AttentionShape;
import dev.gregale.backend.AttentionWeights;
import dev.gregale.backend.BlockScratch;
import dev.gregale.backend.Collective;
import dev.gregale.backend.Device;
import dev.gregale.backend.ExpertWeights;
import dev.gregale.backend.ForwardBatch;
import dev.gregale.backend.Kernels;
import dev.gregale.backend.KvLayer;
import dev.gregale.backend.ModelOps;
import dev.gregale.backend.SamplingInputs;
import dev.gregale.backend.SamplingOutputs;
import dev.gregale.backend.Tensor;
import java.util.List;

/**
 * Every op on every rank, each over its share. Of the two blocks of a layer a rank computes its
 * part of a sum, and all parts are added up. What is not divided is computed alike by all, so that
 * nothing else has to travel. One thread issues the ops of all ranks, one rank's after the other's.
 */
final class ParallelKernels implements ModelOps {
  private final List<? extends Device> ranks;
  private final RankLayout layout;
  private final Collective collective;
  private final PerRank<ForwardBatch> batches;
  private final PerRank<SamplingInputs> samplingInputs;
  private final PerRank<SamplingOutputs> samplingOutputs;
  private final PerRank<AttentionShape> shapes;
  private List<Tensor> partialSums = List.of(); // each [T, D]

  ParallelKernels(List<? extends Device> ranks, RankLayout layout, Collective collective) {
    this.ranks = ranks;
    this.layout = layout;
    this.collective = collective;
    int size = ranks.size();
    batches = new PerRank<>(size, RankViews::part);
    samplingInputs = new PerRank<>(size, RankViews::part);
    samplingOutputs = new PerRank<>(size, RankViews::part);
    shapes = new PerRank<>(size, (shape, rank) -> layout.shard(shape));
  }

  /**
   * Takes the arrays that ranks keep their parts of the blocks' sums in.
   *
   * @param sums fp32 {@code [T, D]} on each rank, of zeros
   */
  void reserve(List<Tensor> sums) {
    partialSums = List.copyOf(sums);
  }

  /** The ops of a rank, whose device is the calling thread's from now on. */
  private Kernels on(int rank) {
    return ranks.get(rank).kernels();
  }

  /** Each rank's batch, with the counts of this step. */
  private ForwardBatch batch(ForwardBatch whole, int rank) {
    ForwardBatch batch = batches.of(whole).get(rank);
    batch.resize(whole.numTokens(), whole.numSeqs(), whole.numLogitRows());
    return batch;
  }

  @Override
  public void gatherTokens(Tensor tokenIds, Tensor sources, Tensor drawn, int vocabSize, int rows) {
    for (int r = 0; r < ranks.size(); r++) {
      on(r).gatherTokens(part(tokenIds, r), part(sources, r), part(drawn, r), vocabSize, rows);
    }
  }

  @Override
  public void embed(Tensor out, Tensor table, ForwardBatch batch) {
    for (int r = 0; r < ranks.size(); r++) {
      on(r).embed(part(out, r), part(table, r), batch(batch, r));
    }
  }

  @Override
  public void attentionBlock(
      Tensor out,
      Tensor residual,
      AttentionWeights weights,
      float eps,
      KvLayer kv,
      Tensor ropeTable,
      AttentionShape shape,
      ForwardBatch batch,
      BlockScratch scratch) {
    for (int r = 0; r < ranks.size(); r++) {
      on(r)
          .attentionBlock(
              partialSums.get(r),
              part(residual, r),
              part(weights, r),
              eps,
              RankKvLayer.part(kv, r),
              part(ropeTable, r),
              shapes.of(shape).get(r),
              batch(batch, r),
              part(scratch, r));
    }
    collective.addUp(RankTensor.of(out).parts(), batch.numTokens());
  }

  /**
   * Routing is over all experts; each rank takes the tokens of those that it has, and the sum over
   * ranks combines their answers.
   */
  @Override
  public void expertBlock(
      Tensor out,
      Tensor residual,
      ExpertWeights weights,
      float eps,
      ForwardBatch batch,
      BlockScratch scratch) {
    for (int r = 0; r < ranks.size(); r++) {
      on(r)
          .expertBlock(
              partialSums.get(r),
              part(residual, r),
              part(weights, layout, r),
              eps,
              batch(batch, r),
              part(scratch, r));
    }
    collective.addUp(RankTensor.of(out).parts(), batch.numTokens());
  }

  @Override
  public void computeLogits(
      Tensor logits,
      Tensor residual,
      Tensor norm,
      float eps,
      Tensor lmHead,
      ForwardBatch batch,
      BlockScratch scratch) {
    for (int r = 0; r < ranks.size(); r++) {
      on(r)
          .computeLogits(
              part(logits, r),
              part(residual, r),
              part(norm, r),
              eps,
              part(lmHead, r),
              batch(batch, r),
              part(scratch, r));
    }
  }

  @Override
  public void sample(SamplingOutputs out, Tensor logits, SamplingInputs in, int rows) {
    for (int r = 0; r < ranks.size(); r++) {
      on(r)
          .sample(
              samplingOutputs.of(out).get(r), part(logits, r), samplingInputs.of(in).get(r), rows);
    }
  }
}
