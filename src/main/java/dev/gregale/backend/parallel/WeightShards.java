package dev.gregale.backend.parallel;

import dev.gregale.backend.AttentionShape;
import dev.gregale.backend.WeightRole;
import dev.gregale.tensor.HostScales;
import dev.gregale.tensor.HostTensor;
import dev.gregale.tensor.Shape;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * A rank's share of each weight, in place: ranges of the mapped file, so that every byte is read by
 * the ranks that need it and by no other.
 *
 * <p>Legend: D hidden, H query heads, G KV heads, d head dim, E experts, I intermediate.
 */
final class WeightShards {
  private final RankLayout layout;
  private final AttentionShape attention;

  WeightShards(RankLayout layout, AttentionShape attention) {
    this.layout = layout;
    this.attention = attention;
  }

  /** Rows of a weight, counted over all its matrices. */
  record Rows(long first, long count) {

    long end() {
      return first + count;
    }
  }

  /** Columns of a weight. */
  record Columns(long first, long count) {}

  /** Whether each rank has a share of its own, rather than the whole. */
  static boolean isDivided(WeightRole role) {
    return switch (role) {
      case EMBEDDING, NORM, ROUTER, LINEAR, ROPE_TABLE -> false;
      case QKV, ATTENTION_OUTPUT, EXPERTS_GATE_UP, EXPERTS_DOWN -> true;
    };
  }

  /** The shape of a rank's share. */
  Shape shape(WeightRole role, Shape whole) {
    int parts = layout.ranksPerGroup();
    return switch (role) {
      case EMBEDDING, NORM, ROUTER, LINEAR, ROPE_TABLE -> whole;
      case QKV -> Shape.of(whole.dim(0) / layout.size(), whole.dim(1));
      case ATTENTION_OUTPUT -> Shape.of(whole.dim(0), whole.dim(1) / layout.size());
      case EXPERTS_GATE_UP ->
          Shape.of(whole.dim(0) / layout.expertGroups(), whole.dim(1) / parts, whole.dim(2));
      case EXPERTS_DOWN ->
          Shape.of(whole.dim(0) / layout.expertGroups(), whole.dim(1), whole.dim(2) / parts);
    };
  }

  /** A rank's share. */
  HostTensor shard(WeightRole role, HostTensor source, int rank) {
    if (!isDivided(role)) {
      return source;
    }
    Shape whole = source.shape();
    long width = whole.dim(whole.rank() - 1);
    List<Rows> rows = rows(role, whole, rank);
    Columns columns = columns(role, width, rank);
    Slabs slabs = new Slabs(source.slabs(), width, source.dtype().bytes());
    rows.forEach(
        range -> slabs.add(range.first(), range.count(), columns.first(), columns.count()));
    @Nullable HostScales scales = source.scales();
    return new HostTensor(
        source.name(),
        source.dtype(),
        shape(role, whole),
        slabs.found(),
        scales == null ? null : ScaleShards.shard(scales, width, rows, columns));
  }

  private List<Rows> rows(WeightRole role, Shape whole, int rank) {
    return switch (role) {
      case QKV -> heads(rank);
      case ATTENTION_OUTPUT -> List.of(new Rows(0, whole.dim(0)));
      case EXPERTS_GATE_UP -> gatesAndUps(whole, rank);
      case EXPERTS_DOWN -> {
        int experts = whole.intDim(0);
        yield List.of(
            new Rows(
                layout.firstExpert(rank, experts) * whole.dim(1),
                layout.numLocalExperts(experts) * whole.dim(1)));
      }
      default -> throw new IllegalArgumentException(role + " is not divided");
    };
  }

  private Columns columns(WeightRole role, long width, int rank) {
    if (role == WeightRole.ATTENTION_OUTPUT) {
      return new Columns(rank * width / layout.size(), width / layout.size());
    }
    if (role == WeightRole.EXPERTS_DOWN) {
      long part = width / layout.ranksPerGroup();
      return new Columns(layout.part(rank) * part, part);
    }
    return new Columns(0, width);
  }

  /** Of {@code [(H + 2G) d, D]}, the rank's query, key and value heads. */
  private List<Rows> heads(int rank) {
    AttentionShape shard = layout.shard(attention);
    long d = attention.headDim();
    long queries = shard.numHeads() * d;
    long keys = shard.numKvHeads() * d;
    long firstKey = attention.numHeads() * d;
    long firstValue = firstKey + attention.numKvHeads() * d;
    return List.of(
        new Rows(rank * queries, queries),
        new Rows(firstKey + rank * keys, keys),
        new Rows(firstValue + rank * keys, keys));
  }

  /** Of {@code [E, 2I, D]}, the rank's rows of its experts' gates and ups. */
  private List<Rows> gatesAndUps(Shape whole, int rank) {
    int experts = whole.intDim(0);
    long intermediate = whole.dim(1) / 2;
    long count = intermediate / layout.ranksPerGroup();
    long first = layout.firstExpert(rank, experts);
    List<Rows> rows = new ArrayList<>();
    for (long e = first; e < first + layout.numLocalExperts(experts); e++) {
      long gate = 2 * e * intermediate + layout.part(rank) * count;
      rows.add(new Rows(gate, count));
      rows.add(new Rows(gate + intermediate, count));
    }
    return rows;
  }
}
