package dev.gregale.backend.parallel;

import dev.gregale.backend.AttentionShape;
import dev.gregale.backend.Backend;
import dev.gregale.backend.Collective;
import dev.gregale.backend.Device;
import dev.gregale.backend.DeviceMemory;
import dev.gregale.backend.KvLayer;
import dev.gregale.backend.ModelBytes;
import dev.gregale.backend.ModelOps;
import dev.gregale.backend.Readback;
import dev.gregale.backend.SaturatedInputs;
import dev.gregale.backend.Step;
import dev.gregale.backend.Tensor;
import dev.gregale.backend.Timeline;
import dev.gregale.backend.WeightRole;
import dev.gregale.backend.WorkspaceLimits;
import dev.gregale.tensor.DType;
import dev.gregale.tensor.HostTensor;
import dev.gregale.tensor.Shape;
import dev.gregale.tensor.WeightScaling;
import java.util.ArrayList;
import java.util.List;
import java.util.function.BiConsumer;
import java.util.function.IntFunction;
import java.util.stream.IntStream;
import java.util.stream.LongStream;
import org.jspecify.annotations.Nullable;

/**
 * Several backends of one kind as one. The model, its runner and the engine see whole tensors and
 * one device; what lies where is decided here and by {@link WeightShards}.
 */
public final class ParallelBackend implements Backend {
  private final List<Device> ranks;
  private final RankLayout layout;
  private final int size;
  private final Collective collective;
  private final WeightShards shards;
  private final ParallelKernels kernels;

  /**
   * @param ranks one per rank of the layout; closed with this
   * @param collective of these
   * @param attention of the model, which {@link RankLayout#check} has found to be divisible
   */
  public ParallelBackend(
      List<? extends Device> ranks,
      Collective collective,
      RankLayout layout,
      AttentionShape attention) {
    this.ranks = List.copyOf(ranks);
    this.layout = layout;
    this.size = layout.size();
    this.collective = collective;
    this.shards = new WeightShards(layout, attention);
    this.kernels = new ParallelKernels(this.ranks, layout, collective);
  }

  private Backend first() {
    return ranks.getFirst();
  }

  private RankTensor onRanks(DType dtype, Shape shape, IntFunction<Tensor> make) {
    return new RankTensor(dtype, shape, IntStream.range(0, size).mapToObj(make).toList());
  }

  @Override
  public String name() {
    return first().name();
  }

  @Override
  public String description() {
    int groups = layout.expertGroups();
    String experts =
        groups == 1 ? "every expert divided" : "experts in %d groups".formatted(groups);
    return "%d ranks, %s: %s".formatted(size, experts, first().description());
  }

  @Override
  public ModelOps kernels() {
    return kernels;
  }

  @Override
  public DType activationDType() {
    return first().activationDType();
  }

  @Override
  public DType kvCacheDType() {
    return first().kvCacheDType();
  }

  @Override
  public List<DType> kvCacheDTypes() {
    return first().kvCacheDTypes();
  }

  @Override
  public int kvBlockSize() {
    return first().kvBlockSize();
  }

  /** Of all ranks together. */
  @Override
  public long kvBlockBytes(int blockSize, AttentionShape shape, DType dtype) {
    return size * first().kvBlockBytes(blockSize, layout.shard(shape), dtype);
  }

  /** Of all ranks together: what the fullest has, on each. */
  @Override
  public long freeBytes() {
    return together(ranks.stream().mapToLong(Backend::freeBytes));
  }

  @Override
  public long freeBytesBeside(ModelBytes model, double utilization) {
    ModelBytes share = new ModelBytes(Math.ceilDiv(model.divided(), size), model.common());
    return together(ranks.stream().mapToLong(rank -> rank.freeBytesBeside(share, utilization)));
  }

  private long together(LongStream ofEach) {
    long least = ofEach.min().orElseThrow();
    return least < 0 || collective.sharesMemory() ? least : size * least;
  }

  /** Of all devices together. */
  @Override
  public @Nullable DeviceMemory deviceMemory() {
    return RankFigures.deviceMemory(ranks);
  }

  @Override
  public Tensor upload(WeightRole role, HostTensor source) {
    return onRanks(
        source.dtype(),
        source.shape(),
        rank -> ranks.get(rank).upload(role, shards.shard(role, source, rank)));
  }

  @Override
  public Tensor dummy(WeightRole role, DType dtype, Shape shape, long seed) {
    Shape shard = shards.shape(role, shape);
    return onRanks(
        dtype, shape, rank -> ranks.get(rank).dummy(role, dtype, shard, seedOn(role, seed, rank)));
  }

  @Override
  public Tensor dummy(WeightRole role, WeightScaling scaling, Shape shape, long seed) {
    Shape shard = shards.shape(role, shape);
    return onRanks(
        DType.F8_E4M3,
        shape,
        rank -> ranks.get(rank).dummy(role, scaling, shard, seedOn(role, seed, rank)));
  }

  /** Of all ranks together: inputs that each of them has count on each. */
  @Override
  public @Nullable SaturatedInputs saturatedInputs() {
    return RankFigures.saturatedInputs(ranks);
  }

  /** What all ranks have alike must be so. */
  private static long seedOn(WeightRole role, long seed, int rank) {
    return WeightShards.isDivided(role) ? seed + 31L * rank : seed;
  }

  @Override
  public Tensor allocate(DType dtype, Shape shape) {
    return onRanks(dtype, shape, rank -> ranks.get(rank).allocate(dtype, shape));
  }

  @Override
  public List<Tensor> allocateTogether(DType dtype, Shape shape, int count) {
    List<List<Tensor>> onRanks =
        ranks.stream().map(rank -> rank.allocateTogether(dtype, shape, count)).toList();
    return IntStream.range(0, count)
        .<Tensor>mapToObj(i -> onRanks(dtype, shape, rank -> onRanks.get(rank).get(i)))
        .toList();
  }

  @Override
  public Tensor allocateHeads(DType dtype, Shape shape) {
    Shape shard = Shape.of(shape.dim(0), shape.dim(1) / size);
    return onRanks(dtype, shape, rank -> ranks.get(rank).allocate(dtype, shard));
  }

  @Override
  public KvLayer allocateKv(int numBlocks, int blockSize, AttentionShape shape, DType dtype) {
    AttentionShape shard = layout.shard(shape);
    return new RankKvLayer(
        ranks.stream().map(rank -> rank.allocateKv(numBlocks, blockSize, shard, dtype)).toList());
  }

  @Override
  public void write(Tensor destination, int[] values, int count) {
    onEach(destination, (rank, part) -> rank.write(part, values, count));
  }

  @Override
  public void write(Tensor destination, long[] values, int count) {
    onEach(destination, (rank, part) -> rank.write(part, values, count));
  }

  @Override
  public void write(Tensor destination, float[] values, int count) {
    onEach(destination, (rank, part) -> rank.write(part, values, count));
  }

  private void onEach(Tensor tensor, BiConsumer<Backend, Tensor> work) {
    for (int r = 0; r < size; r++) {
      work.accept(ranks.get(r), RankTensor.part(tensor, r));
    }
  }

  /** What all ranks have alike is read from the first. */
  @Override
  public void read(Tensor source, int[] values, int count) {
    first().read(RankTensor.part(source, 0), values, count);
    collective.requireHealthy();
  }

  @Override
  public void read(Tensor source, float[] values, int count) {
    first().read(RankTensor.part(source, 0), values, count);
    collective.requireHealthy();
  }

  @Override
  public Readback readback(List<Tensor> together) {
    return new RankReadback(
        first().readback(together.stream().map(each -> RankTensor.part(each, 0)).toList()),
        collective);
  }

  @Override
  public Timeline timeline() {
    return first().timeline();
  }

  @Override
  public void reserve(WorkspaceLimits limits) {
    WorkspaceLimits shard =
        new WorkspaceLimits(
            limits.tokens(),
            limits.seqs(),
            limits.contextLen(),
            layout.shard(limits.attention()),
            layout.numLocalExperts(limits.numExperts()),
            limits.expertsPerToken(),
            limits.hidden(),
            limits.intermediate() / layout.ranksPerGroup());
    ranks.forEach(rank -> rank.reserve(shard));
    kernels.reserve(collective.allocateParts(Shape.of(limits.tokens(), limits.hidden())));
  }

  @Override
  public boolean isAsynchronous() {
    return first().isAsynchronous();
  }

  @Override
  public int recordedRows(int numSeqs) {
    return first().recordedRows(numSeqs);
  }

  /** Each rank records its own part of the work, where there is recording. */
  @Override
  public Step record(Runnable work) {
    if (!isAsynchronous()) {
      return work::run;
    }
    List<Step> steps = new ArrayList<>();
    recordFrom(0, work, steps);
    return () -> steps.forEach(Step::run);
  }

  private void recordFrom(int rank, Runnable work, List<Step> steps) {
    Runnable inner = rank + 1 == size ? work : () -> recordFrom(rank + 1, work, steps);
    steps.addFirst(ranks.get(rank).record(inner));
  }

  @Override
  public void close() {
    ranks.forEach(Backend::close);
    collective.close();
  }
}
