package dev.gregale.backend.parallel;

import dev.gregale.backend.AttentionShape;
import dev.gregale.backend.WeightRole;
import dev.gregale.tensor.HostTensor;
import dev.gregale.tensor.Shape;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.List;

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

  /** Whether products with a rank's share are partial sums. */
  static boolean isPartialSum(WeightRole role) {
    return role == WeightRole.ATTENTION_OUTPUT || role == WeightRole.EXPERTS_DOWN;
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
    Slabs slabs = new Slabs(source);
    switch (role) {
      case EMBEDDING, NORM, ROUTER, LINEAR, ROPE_TABLE -> {
        return source;
      }
      case QKV -> addHeads(slabs, rank);
      case ATTENTION_OUTPUT -> {
        long width = source.shape().dim(1) / layout.size();
        slabs.addColumns(0, source.shape().dim(0), rank * width, width);
      }
      case EXPERTS_GATE_UP -> addGateUp(slabs, source.shape(), rank);
      case EXPERTS_DOWN -> addDown(slabs, source.shape(), rank);
    }
    return new HostTensor(source.name(), source.dtype(), shape(role, source.shape()), slabs.found);
  }

  /** Of {@code [(H + 2G) d, D]}, the rank's query, key and value heads. */
  private void addHeads(Slabs slabs, int rank) {
    AttentionShape shard = layout.shard(attention);
    long d = attention.headDim();
    long queries = shard.numHeads() * d;
    long keys = shard.numKvHeads() * d;
    long firstKey = attention.numHeads() * d;
    long firstValue = firstKey + attention.numKvHeads() * d;
    slabs.addRows(rank * queries, queries);
    slabs.addRows(firstKey + rank * keys, keys);
    slabs.addRows(firstValue + rank * keys, keys);
  }

  /** Of {@code [E, 2I, D]}, the rank's rows of its experts' gates and ups. */
  private void addGateUp(Slabs slabs, Shape whole, int rank) {
    int experts = whole.intDim(0);
    long intermediate = whole.dim(1) / 2;
    long rows = intermediate / layout.ranksPerGroup();
    long first = layout.firstExpert(rank, experts);
    for (long e = first; e < first + layout.numLocalExperts(experts); e++) {
      long gate = 2 * e * intermediate + layout.part(rank) * rows;
      slabs.addRows(gate, rows);
      slabs.addRows(gate + intermediate, rows);
    }
  }

  /** Of {@code [E, D, I]}, the rank's columns of its experts. */
  private void addDown(Slabs slabs, Shape whole, int rank) {
    int experts = whole.intDim(0);
    long rows = whole.dim(1);
    long width = whole.dim(2) / layout.ranksPerGroup();
    long first = layout.firstExpert(rank, experts);
    long count = layout.numLocalExperts(experts);
    slabs.addColumns(first * rows, count * rows, layout.part(rank) * width, width);
  }

  /** Ranges of a tensor that lies in several pieces. */
  private static final class Slabs {
    private final HostTensor source;
    private final long rowBytes;
    private final List<MemorySegment> found = new ArrayList<>();
    private int slab;
    private long slabStart; // of the current slab, in bytes of the tensor

    Slabs(HostTensor source) {
      this.source = source;
      this.rowBytes = source.shape().dim(source.shape().rank() - 1) * source.dtype().bytes();
    }

    void addRows(long first, long count) {
      addBytes(first * rowBytes, count * rowBytes);
    }

    void addColumns(long firstRow, long rows, long firstColumn, long width) {
      long bytes = source.dtype().bytes();
      if (width * bytes == rowBytes) {
        addRows(firstRow, rows);
        return;
      }
      for (long row = firstRow; row < firstRow + rows; row++) {
        addBytes(row * rowBytes + firstColumn * bytes, width * bytes);
      }
    }

    /** Ranges are asked for in ascending order. */
    private void addBytes(long from, long length) {
      long at = from;
      long left = length;
      while (left > 0) {
        MemorySegment piece = source.slabs().get(slab);
        if (at >= slabStart + piece.byteSize()) {
          slabStart += piece.byteSize();
          slab++;
          continue;
        }
        long part = Math.min(left, slabStart + piece.byteSize() - at);
        found.add(piece.asSlice(at - slabStart, part));
        at += part;
        left -= part;
      }
    }
  }
}
