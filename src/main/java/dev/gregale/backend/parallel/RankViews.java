package dev.gregale.backend.parallel;

import dev.gregale.backend.AttentionWeights;
import dev.gregale.backend.BlockScratch;
import dev.gregale.backend.ExpertRouting;
import dev.gregale.backend.ExpertWeights;
import dev.gregale.backend.ForwardBatch;
import dev.gregale.backend.SamplingInputs;
import dev.gregale.backend.SamplingOutputs;
import dev.gregale.backend.Tensor;

/** One rank's part of what ops are given. */
final class RankViews {

  private RankViews() {}

  static Tensor part(Tensor tensor, int rank) {
    return RankTensor.part(tensor, rank);
  }

  static ForwardBatch part(ForwardBatch batch, int rank) {
    return new ForwardBatch(
        part(batch.tokenIds(), rank),
        part(batch.positions(), rank),
        part(batch.slotMapping(), rank),
        part(batch.cuSeqLens(), rank),
        part(batch.contextLens(), rank),
        part(batch.blockTables(), rank),
        part(batch.logitRows(), rank));
  }

  static ExpertRouting part(ExpertRouting routing, int rank) {
    return new ExpertRouting(part(routing.expertIds(), rank), part(routing.expertWeights(), rank));
  }

  static BlockScratch part(BlockScratch scratch, int rank) {
    return new BlockScratch(
        part(scratch.hidden(), rank),
        part(scratch.update(), rank),
        part(scratch.qkv(), rank),
        part(scratch.context(), rank),
        part(scratch.routerLogits(), rank),
        part(scratch.routing(), rank),
        part(scratch.localIds(), rank),
        part(scratch.lastHidden(), rank));
  }

  static SamplingInputs part(SamplingInputs in, int rank) {
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

  static SamplingOutputs part(SamplingOutputs out, int rank) {
    return new SamplingOutputs(
        part(out.tokens(), rank),
        part(out.logprobs(), rank),
        part(out.topTokens(), rank),
        part(out.topLogprobs(), rank));
  }

  static AttentionWeights part(AttentionWeights weights, int rank) {
    return new AttentionWeights(
        part(weights.norm(), rank), part(weights.qkv(), rank), part(weights.output(), rank));
  }

  static ExpertWeights part(ExpertWeights weights, RankLayout layout, int rank) {
    return new ExpertWeights(
        part(weights.norm(), rank),
        part(weights.router(), rank),
        part(weights.gateUp(), rank),
        part(weights.down(), rank),
        layout.firstExpert(rank, weights.router().shape().intDim(0)));
  }
}
