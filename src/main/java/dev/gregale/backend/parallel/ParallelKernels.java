package dev.gregale.backend.parallel;

import dev.gregale.backend.AttentionShape;
import dev.gregale.backend.Backend;
import dev.gregale.backend.Collective;
import dev.gregale.backend.ExpertRouting;
import dev.gregale.backend.ForwardBatch;
import dev.gregale.backend.Kernels;
import dev.gregale.backend.KvLayer;
import dev.gregale.backend.SamplingInputs;
import dev.gregale.backend.SamplingOutputs;
import dev.gregale.backend.Tensor;
import java.util.List;

/**
 * Every op on every rank, each over its share; where a rank has but a part of a sum, all parts are
 * added up. That is twice a layer: behind attention's output projection and behind the experts.
 * What is not divided is computed alike by all, so that nothing else has to travel.
 */
final class ParallelKernels implements Kernels {
  private final List<Kernels> ranks;
  private final RankLayout layout;
  private final Collective collective;
  private final PerRank<ForwardBatch> batches;
  private final PerRank<SamplingInputs> samplingInputs;
  private final PerRank<SamplingOutputs> samplingOutputs;
  private final PerRank<AttentionShape> shapes;
  private List<Tensor> localExpertIds = List.of(); // each [T, K]

  ParallelKernels(List<Backend> backends, RankLayout layout, Collective collective) {
    ranks = backends.stream().map(Backend::kernels).toList();
    this.layout = layout;
    this.collective = collective;
    int size = ranks.size();
    batches = new PerRank<>(size, ParallelKernels::part);
    samplingInputs = new PerRank<>(size, ParallelKernels::part);
    samplingOutputs = new PerRank<>(size, ParallelKernels::part);
    shapes = new PerRank<>(size, (shape, rank) -> layout.shard(shape));
  }

  /**
   * Where each rank keeps which of a token's experts are its own.
   *
   * @param expertIds int32 {@code [T, K]}, one per rank
   */
  void keepLocalExpertsIn(List<Tensor> expertIds) {
    localExpertIds = List.copyOf(expertIds);
  }

  private static Tensor part(Tensor tensor, int rank) {
    return RankTensor.part(tensor, rank);
  }

  private static ForwardBatch part(ForwardBatch batch, int rank) {
    return new ForwardBatch(
        part(batch.tokenIds(), rank),
        part(batch.positions(), rank),
        part(batch.slotMapping(), rank),
        part(batch.cuSeqLens(), rank),
        part(batch.contextLens(), rank),
        part(batch.blockTables(), rank),
        part(batch.logitRows(), rank));
  }

  private static ExpertRouting part(ExpertRouting routing, int rank) {
    return new ExpertRouting(part(routing.expertIds(), rank), part(routing.expertWeights(), rank));
  }

  private static SamplingInputs part(SamplingInputs in, int rank) {
    return new SamplingInputs(
        part(in.temperature(), rank),
        part(in.topK(), rank),
        part(in.topP(), rank),
        part(in.minP(), rank),
        part(in.repetitionPenalty(), rank),
        part(in.presencePenalty(), rank),
        part(in.frequencyPenalty(), rank),
        part(in.seed(), rank),
        part(in.position(), rank),
        part(in.givenToken(), rank),
        part(in.numLogprobs(), rank),
        part(in.adjustOffsets(), rank),
        part(in.adjustTokens(), rank),
        part(in.adjustCounts(), rank),
        part(in.adjustBias(), rank),
        part(in.maskRow(), rank),
        part(in.allowedTokens(), rank));
  }

  private static SamplingOutputs part(SamplingOutputs out, int rank) {
    return new SamplingOutputs(
        part(out.tokens(), rank),
        part(out.logprobs(), rank),
        part(out.topTokens(), rank),
        part(out.topLogprobs(), rank));
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
      ranks
          .get(r)
          .gatherTokens(part(tokenIds, r), part(sources, r), part(drawn, r), vocabSize, rows);
    }
  }

  @Override
  public void embed(Tensor out, Tensor table, ForwardBatch batch) {
    for (int r = 0; r < ranks.size(); r++) {
      ranks.get(r).embed(part(out, r), part(table, r), batch(batch, r));
    }
  }

  @Override
  public void rmsNorm(Tensor out, Tensor x, Tensor weight, float eps, int rows) {
    for (int r = 0; r < ranks.size(); r++) {
      ranks.get(r).rmsNorm(part(out, r), part(x, r), part(weight, r), eps, rows);
    }
  }

  @Override
  public void add(Tensor residual, Tensor x, int rows) {
    for (int r = 0; r < ranks.size(); r++) {
      ranks.get(r).add(part(residual, r), part(x, r), rows);
    }
  }

  @Override
  public void matmul(Tensor out, Tensor x, Tensor weight, int rows) {
    for (int r = 0; r < ranks.size(); r++) {
      ranks.get(r).matmul(part(out, r), part(x, r), part(weight, r), rows);
    }
    addUp(out, weight, rows);
  }

  /** Makes the whole of the ranks' results where those are parts of a sum. */
  private void addUp(Tensor out, Tensor weight, int rows) {
    if (RankTensor.of(weight).isPartialSum()) {
      collective.allReduce(RankTensor.of(out).parts(), rows);
    }
  }

  @Override
  public void ropeAndCacheKv(
      Tensor qkv, KvLayer kv, Tensor ropeTable, AttentionShape shape, ForwardBatch batch) {
    for (int r = 0; r < ranks.size(); r++) {
      ranks
          .get(r)
          .ropeAndCacheKv(
              part(qkv, r),
              RankKvLayer.part(kv, r),
              part(ropeTable, r),
              shapes.of(shape).get(r),
              batch(batch, r));
    }
  }

  @Override
  public void pagedAttention(
      Tensor out, Tensor qkv, KvLayer kv, AttentionShape shape, ForwardBatch batch) {
    for (int r = 0; r < ranks.size(); r++) {
      ranks
          .get(r)
          .pagedAttention(
              part(out, r),
              part(qkv, r),
              RankKvLayer.part(kv, r),
              shapes.of(shape).get(r),
              batch(batch, r));
    }
  }

  @Override
  public void routeTopK(ExpertRouting routing, Tensor routerLogits, int rows) {
    for (int r = 0; r < ranks.size(); r++) {
      ranks.get(r).routeTopK(part(routing, r), part(routerLogits, r), rows);
    }
  }

  @Override
  public void dispatch(
      Tensor localIds, Tensor expertIds, int firstExpert, int numExperts, int rows) {
    for (int r = 0; r < ranks.size(); r++) {
      ranks.get(r).dispatch(part(localIds, r), part(expertIds, r), firstExpert, numExperts, rows);
    }
  }

  /** Each rank takes the tokens of its own experts; the sum over ranks combines their answers. */
  @Override
  public void expertFeedForward(
      Tensor out, Tensor x, ExpertRouting routing, Tensor gateUp, Tensor down, int rows) {
    int numExperts = down.shape().intDim(0);
    for (int r = 0; r < ranks.size(); r++) {
      Kernels rank = ranks.get(r);
      ExpertRouting own = part(routing, r);
      if (layout.expertGroups() > 1) {
        Tensor localIds = localExpertIds.get(r);
        int first = layout.firstExpert(r, numExperts);
        int count = layout.numLocalExperts(numExperts);
        rank.dispatch(localIds, own.expertIds(), first, count, rows);
        own = new ExpertRouting(localIds, own.expertWeights());
      }
      rank.expertFeedForward(part(out, r), part(x, r), own, part(gateUp, r), part(down, r), rows);
    }
    addUp(out, down, rows);
  }

  @Override
  public void gatherRows(Tensor out, Tensor x, Tensor rowIds, int rows) {
    for (int r = 0; r < ranks.size(); r++) {
      ranks.get(r).gatherRows(part(out, r), part(x, r), part(rowIds, r), rows);
    }
  }

  @Override
  public void sample(SamplingOutputs out, Tensor logits, SamplingInputs in, int rows) {
    for (int r = 0; r < ranks.size(); r++) {
      ranks
          .get(r)
          .sample(
              samplingOutputs.of(out).get(r), part(logits, r), samplingInputs.of(in).get(r), rows);
    }
  }
}
