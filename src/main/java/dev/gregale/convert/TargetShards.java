package dev.gregale.convert;

import static java.util.Objects.requireNonNull;

import dev.gregale.checkpoint.CheckpointException;
import dev.gregale.checkpoint.CheckpointLayout;
import dev.gregale.checkpoint.ExpertRank;
import dev.gregale.checkpoint.SafetensorsIndex;
import dev.gregale.checkpoint.ShardLayout;
import dev.gregale.checkpoint.TensorInfo;
import dev.gregale.checkpoint.TensorSpec;
import dev.gregale.tensor.HostTensor;
import dev.gregale.tensor.Shape;
import dev.gregale.tensor.SlabReader;
import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Function;
import tools.jackson.databind.json.JsonMapper;
import tools.jackson.databind.node.ObjectNode;

/**
 * The files of a target, and what each of their tensors is made of. Where experts are dealt out to
 * ranks, first what all ranks have alike, then rank after rank.
 */
final class TargetShards {
  private final List<ExpertRank> ranks;
  private final Function<List<HostTensor>, TensorEncoding> encodings;
  private final List<ShardLayout> shards = new ArrayList<>();
  private final Map<Place, Origin> origins = new HashMap<>();

  /** A tensor of a file: ranks' shares have the same name. */
  private record Place(String file, String tensor) {}

  private record Origin(HostTensor source, TensorEncoding encoding) {}

  /**
   * @param tensors of the target's layout
   * @param ranks that experts are dealt out to; none: they stay whole
   * @param encodings how tensors that have different names are stored
   * @param maxBytes of data per file
   * @throws CheckpointException if there would be too many files
   */
  TargetShards(
      List<HostTensor> tensors,
      List<ExpertRank> ranks,
      Function<List<HostTensor>, TensorEncoding> encodings,
      long maxBytes) {
    this.ranks = ranks;
    this.encodings = encodings;
    if (ranks.isEmpty()) {
      add(tensors, targets -> ShardLayout.split(targets, maxBytes));
    } else {
      List<HostTensor> stacked = tensors.stream().filter(TargetShards::isStacked).toList();
      add(
          tensors.stream().filter(each -> !isStacked(each)).toList(),
          targets -> ShardLayout.replicated(targets, maxBytes));
      for (ExpertRank rank : ranks) {
        add(
            stacked.stream().map(each -> share(rank, each)).toList(),
            targets -> ShardLayout.ofRank(rank, targets, maxBytes));
      }
    }
    ShardLayout.requireFew(shards.size(), maxBytes);
  }

  private static boolean isStacked(HostTensor tensor) {
    return CheckpointLayout.isStackedExperts(tensor.name());
  }

  /** The rank's consecutive experts of {@code [E, ...]}, in place. */
  private static HostTensor share(ExpertRank rank, HostTensor whole) {
    Shape shape = whole.shape().withFirst(whole.shape().dim(0) / rank.size());
    List<MemorySegment> slabs = new ArrayList<>();
    new SlabReader(whole.slabs(), whole.dtype().bytes())
        .at(rank.rank() * shape.numElements())
        .take(shape.numElements(), slabs);
    return new HostTensor(whole.name(), whole.dtype(), shape, slabs);
  }

  /**
   * @param division of targets into files
   */
  private void add(
      List<HostTensor> tensors, Function<List<TensorSpec>, List<ShardLayout>> division) {
    TensorEncoding encoding = encodings.apply(tensors);
    Map<String, HostTensor> sources = new HashMap<>();
    List<TensorSpec> targets = new ArrayList<>();
    for (HostTensor tensor : tensors) {
      for (TensorSpec target : encoding.targets(tensor)) {
        targets.add(target);
        sources.put(target.name(), tensor);
      }
    }
    for (ShardLayout shard : division.apply(targets)) {
      shards.add(shard);
      for (TensorInfo tensor : shard.tensors()) {
        HostTensor source = requireNonNull(sources.get(tensor.name()));
        origins.put(new Place(shard.fileName(), tensor.name()), new Origin(source, encoding));
      }
    }
  }

  /** In the order in which they are written. */
  List<ShardLayout> files() {
    return shards;
  }

  /** Hands out the bytes of a tensor of a file, as in {@link TensorEncoding#forEachPiece}. */
  void forEachPiece(ShardLayout shard, TensorInfo tensor, int maxBytes, TensorEncoding.Sink sink)
      throws IOException {
    Origin origin = origins.get(new Place(shard.fileName(), tensor.name()));
    if (origin == null) {
      throw new IllegalArgumentException(tensor.name() + " is no tensor of the target");
    }
    TensorSpec target = new TensorSpec(tensor.name(), tensor.dtype(), tensor.shape());
    origin.encoding().forEachPiece(origin.source(), target, maxBytes, sink);
  }

  /** The texts of index files by name: one for each rank; none where there is one file in all. */
  Map<String, String> indices() {
    Map<String, String> indices = new LinkedHashMap<>();
    if (shards.size() > 1 && ranks.isEmpty()) {
      indices.put(SafetensorsIndex.FILE_NAME, index(shards));
    }
    for (ExpertRank rank : ranks) {
      indices.put(
          rank.indexName(),
          index(
              shards.stream()
                  .filter(shard -> shard.rank() == null || rank.equals(shard.rank()))
                  .toList()));
    }
    return indices;
  }

  private static String index(List<ShardLayout> files) {
    ObjectNode index = JsonMapper.shared().createObjectNode();
    ObjectNode metadata = index.putObject("metadata");
    ObjectNode weightMap = index.putObject(SafetensorsIndex.WEIGHT_MAP);
    long bytes = 0;
    for (ShardLayout file : files) {
      for (TensorInfo tensor : file.tensors()) {
        weightMap.put(tensor.name(), file.fileName());
        bytes += tensor.bytes();
      }
    }
    metadata.put("total_size", bytes);
    return PythonJson.write(index);
  }
}
