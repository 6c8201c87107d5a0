package dev.gregale.convert;

import static java.util.Objects.requireNonNull;

import dev.gregale.checkpoint.Checkpoint;
import dev.gregale.checkpoint.CheckpointException;
import dev.gregale.checkpoint.CheckpointLayout;
import dev.gregale.checkpoint.ConfigJson;
import dev.gregale.checkpoint.ExpertRank;
import dev.gregale.checkpoint.ModelDimensions;
import dev.gregale.checkpoint.QuantizationConfig;
import dev.gregale.checkpoint.ScaleGrid;
import dev.gregale.checkpoint.ShardLayout;
import dev.gregale.checkpoint.TensorInfo;
import dev.gregale.quantization.Quantization;
import dev.gregale.tensor.DType;
import dev.gregale.tensor.HostTensor;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.BasicFileAttributes;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;
import tools.jackson.databind.JsonNode;

/** Everything that a conversion will write, known before the first byte of it. */
final class ConversionPlan implements AutoCloseable {
  private static final String FORMAT = "gregale-convert 1";

  private final Checkpoint source;
  private final CheckpointLayout from;
  private final CheckpointLayout to;
  private final String config;
  private final TargetShards shards;
  private final int expertParallelSize;
  private final String id;

  private ConversionPlan(Checkpoint source, ConversionRequest request) throws IOException {
    this.source = source;
    this.from = CheckpointLayout.of(source);
    this.to = to(request, from);
    ConfigJson json = ConfigJson.read(Checkpoint.resolve(source.directory(), "config.json"));
    QuantizationConfig stored = QuantizationConfig.of(json);
    requireSense(request, json, stored);
    ModelDimensions dims = ModelDimensions.of(json);
    List<HostTensor> tensors = MixtralTensorMapping.map(source, to, dims, stored);
    QuantizedFormat format = QuantizedFormat.of(request.quantization(), json, to, dims);
    DType dtype = request.dtype() == null ? tensors.getFirst().dtype() : request.dtype();
    this.expertParallelSize = request.expertParallelSize();
    this.shards =
        new TargetShards(
            tensors,
            ranks(expertParallelSize, dims, json),
            some -> encoding(request, dims, some, stored, format, dtype),
            request.maxShardBytes());
    JsonNode quantization =
        format != null
            ? format.config()
            : request.dequantize() ? null : json.tree().get(QuantizationConfig.KEY);
    this.config =
        ConfigConverter.convert(
            json, to, request.dtype(), expertParallelSize, quantization, quantisedLayers());
    this.id = id();
  }

  /** None where experts stay whole. */
  private static List<ExpertRank> ranks(int size, ModelDimensions dims, ConfigJson json) {
    try {
      return size == 1 ? List.of() : ExpertRank.all(dims.numExperts(), size);
    } catch (IllegalArgumentException e) {
      throw json.invalid(e);
    }
  }

  /** Values are never rounded to codes twice, and never taken for something else unasked. */
  private static void requireSense(
      ConversionRequest request, ConfigJson json, @Nullable QuantizationConfig stored) {
    if (stored != null && request.quantization() != Quantization.NONE) {
      throw json.wrong(
          QuantizationConfig.KEY,
          stored,
          "none where weights are to be quantised, lest they be rounded twice; quantise its source,"
              + " or dequantise it first");
    }
    if (stored == null && request.dequantize()) {
      throw json.wrong(
          QuantizationConfig.KEY,
          "none",
          "one where weights are to be dequantised; a dtype alone casts what is not quantised");
    }
  }

  /**
   * @param tensors of which no two have the same name
   * @param dtype of what is dequantised
   */
  private TensorEncoding encoding(
      ConversionRequest request,
      ModelDimensions dims,
      List<HostTensor> tensors,
      @Nullable QuantizationConfig stored,
      @Nullable QuantizedFormat format,
      DType dtype) {
    WeightCast cast = new WeightCast(request.dtype());
    if (format != null) {
      return new QuantizedEncoding(format, cast);
    }
    if (stored == null) {
      return cast;
    }
    if (!request.dequantize()) {
      return new CarriedEncoding(stored, cast);
    }
    return new DequantizedEncoding(stored, scales(dims, tensors, stored), dtype, cast);
  }

  /** The scales of each weight of codes, by its name. */
  private Map<String, DequantizedEncoding.Scales> scales(
      ModelDimensions dims, List<HostTensor> tensors, QuantizationConfig stored) {
    Map<String, HostTensor> byName = new HashMap<>();
    tensors.forEach(tensor -> byName.put(tensor.name(), tensor));
    ScaleMapping mapping = new ScaleMapping(dims, stored);
    Map<String, DequantizedEncoding.Scales> scales = new HashMap<>();
    for (HostTensor tensor : tensors) {
      if (MixtralTensorMapping.isCodes(tensor)) {
        String suffix = mapping.suffixes(tensor.name(), byName::containsKey).getFirst();
        scales.put(
            tensor.name(),
            new DequantizedEncoding.Scales(
                ScaleGrid.of(to, tensor.name(), tensor.shape(), dims, stored.scaling()),
                requireNonNull(byName.get(ScaleMapping.name(tensor.name(), suffix)))));
      }
    }
    return scales;
  }

  private Set<Integer> quantisedLayers() {
    return tensors().stream()
        .filter(tensor -> tensor.dtype() == DType.F8_E4M3)
        .map(tensor -> CheckpointLayout.layerOf(tensor.name()))
        .collect(Collectors.toSet());
  }

  /**
   * Opens and checks a source.
   *
   * @throws CheckpointException if it is no model that can be converted
   */
  static ConversionPlan open(ConversionRequest request) throws IOException {
    Checkpoint source = Checkpoint.open(request.source());
    try {
      return new ConversionPlan(source, request);
    } catch (IOException | RuntimeException e) {
      source.close();
      throw e;
    }
  }

  private static CheckpointLayout to(ConversionRequest request, CheckpointLayout from) {
    if (request.to() != null) {
      return request.to();
    }
    if (request.expertParallelSize() > 1) {
      return CheckpointLayout.TRANSFORMER_ENGINE;
    }
    if (request.quantization() != Quantization.NONE || request.dequantize()) {
      return CheckpointLayout.HUGGING_FACE;
    }
    return from == CheckpointLayout.TRANSFORMER_ENGINE
        ? CheckpointLayout.HUGGING_FACE
        : CheckpointLayout.TRANSFORMER_ENGINE;
  }

  /** A digest of all that decides what is written; the source's files by name, size and time. */
  private String id() throws IOException {
    StringBuilder text = new StringBuilder(FORMAT).append('\n').append(config);
    TreeSet<Path> files = new TreeSet<>();
    source.files().forEach(file -> files.add(file.path()));
    for (Path file : files) {
      BasicFileAttributes attributes = Files.readAttributes(file, BasicFileAttributes.class);
      text.append(file.getFileName()).append(' ').append(attributes.size()).append(' ');
      text.append(attributes.lastModifiedTime()).append('\n');
    }
    for (ShardLayout shard : shards()) {
      text.append(shard.fileName()).append('\n');
      shard.tensors().forEach(tensor -> text.append(tensor).append('\n'));
    }
    return Sha256.of(text.toString());
  }

  Path sourceDirectory() {
    return source.directory();
  }

  /** The target's config.json. */
  String config() {
    return config;
  }

  List<ShardLayout> shards() {
    return shards.files();
  }

  /** Tells this conversion from others into the same target. */
  String identity() {
    return id;
  }

  /** Hands out the bytes of a tensor of a file, as in {@link TensorEncoding#forEachPiece}. */
  void forEachPiece(ShardLayout shard, TensorInfo tensor, int maxBytes, TensorEncoding.Sink sink)
      throws IOException {
    shards.forEachPiece(shard, tensor, maxBytes, sink);
  }

  /** All tensors in the order in which they are written. */
  List<TensorInfo> tensors() {
    return shards().stream().flatMap(shard -> shard.tensors().stream()).toList();
  }

  long totalBytes() {
    return tensors().stream().mapToLong(TensorInfo::bytes).sum();
  }

  /** The texts of index files by name. */
  Map<String, String> indices() {
    return shards.indices();
  }

  ConversionResult result(long resumedBytes, @Nullable LogitsDifference difference) {
    return new ConversionResult(
        from,
        to,
        expertParallelSize,
        tensors().size(),
        shards().size(),
        totalBytes(),
        resumedBytes,
        difference);
  }

  @Override
  public void close() {
    source.close();
  }
}
