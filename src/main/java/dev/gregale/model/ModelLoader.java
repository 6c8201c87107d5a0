package dev.gregale.model;

import dev.gregale.backend.Backend;
import dev.gregale.backend.ModelBytes;
import dev.gregale.backend.Tensor;
import dev.gregale.backend.WeightRole;
import dev.gregale.checkpoint.Checkpoint;
import dev.gregale.checkpoint.CheckpointException;
import dev.gregale.checkpoint.CheckpointLayout;
import dev.gregale.checkpoint.CheckpointReader;
import dev.gregale.checkpoint.CheckpointWeights;
import dev.gregale.checkpoint.ConfigJson;
import dev.gregale.checkpoint.QuantizationConfig;
import dev.gregale.quantization.Recipe;
import dev.gregale.tensor.HostScales;
import dev.gregale.tensor.HostTensor;
import dev.gregale.tensor.Shape;
import dev.gregale.tensor.WeightScaling;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.function.IntConsumer;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;

/**
 * A model directory on its way to a backend. Opening it checks every name, shape and range;
 * uploading copies the weights, once, from the mapped files.
 */
public final class ModelLoader implements AutoCloseable {
  private final MixtralConfig config;
  private final LayerPrecision precision;
  private final WeightStatistics statistics = new WeightStatistics();
  private final @Nullable Checkpoint checkpoint;
  private final @Nullable CheckpointWeights weights;

  private ModelLoader(
      MixtralConfig config,
      LayerPrecision precision,
      @Nullable Checkpoint checkpoint,
      @Nullable CheckpointWeights weights) {
    this.config = config;
    this.precision = precision;
    this.checkpoint = checkpoint;
    this.weights = weights;
  }

  /**
   * @throws CheckpointException if the directory holds no model that can be run, naming file,
   *     tensor or key, what was found and what was expected
   */
  public static ModelLoader open(Path directory, LoadFormat format, Precision wanted) {
    MixtralConfig config = MixtralConfig.read(directory);
    ConfigJson json = ConfigJson.read(directory.resolve(Checkpoint.CONFIG_FILE));
    QuantizationConfig quantization = QuantizationConfig.of(json);
    LayerPrecision precision =
        LayerPrecision.of(wanted, json, config.numHiddenLayers(), quantization);
    if (format == LoadFormat.DUMMY) {
      return new ModelLoader(config, precision, null, null);
    }
    Checkpoint checkpoint = Checkpoint.open(directory);
    try {
      requireFormat(directory, format, CheckpointLayout.of(checkpoint));
      return new ModelLoader(
          config,
          precision,
          checkpoint,
          CheckpointReader.read(checkpoint, config.dimensions(), quantization));
    } catch (RuntimeException e) {
      checkpoint.close();
      throw e;
    }
  }

  private static void requireFormat(Path directory, LoadFormat format, CheckpointLayout layout) {
    boolean isTe = layout == CheckpointLayout.TRANSFORMER_ENGINE;
    if (format == LoadFormat.HF && isTe || format == LoadFormat.TE && !isTe) {
      throw new CheckpointException(
          "%s: found the layout %s, expected %s; set load-format to auto to take either"
              .formatted(directory, layout, format));
    }
  }

  public MixtralConfig config() {
    return config;
  }

  /** What has been uploaded so far. */
  public WeightStatistics statistics() {
    return statistics;
  }

  /** In what weights are kept and multiplied. */
  public String precision() {
    return precision.toString();
  }

  /**
   * What an element of the projections of attention and experts takes, about: the mean over layers.
   *
   * @param bytesPerElement of what is not quantised
   */
  public double bytesPerProjectionElement(int bytesPerElement) {
    return IntStream.range(0, config.numHiddenLayers())
        .mapToObj(this::scaling)
        .mapToDouble(
            scaling ->
                scaling == null ? bytesPerElement : scaling.bytesPerElement(config.hiddenSize()))
        .average()
        .orElseThrow();
  }

  /** The format of a layer's experts, which are nearly all of it; null: not quantised. */
  private @Nullable WeightScaling scaling(int layer) {
    if (weights == null) {
      return precision.scaling(layer);
    }
    HostScales stored = weights.layers().get(layer).gateUp().scales();
    Recipe recipe = precision.recipe(layer);
    return stored != null
        ? stored.scaling()
        : recipe == null ? null : recipe.weights(precision.inputs());
  }

  /**
   * What the weights will take, about: layers are divided, vocabularies are not.
   *
   * @param bytesPerElement of what is not quantised
   */
  public ModelBytes numBytes(int bytesPerElement) {
    return MixtralWeights.numBytes(config, bytesPerElement, this::scaling);
  }

  /** The formats of all layers' quantised projections. */
  public List<WeightScaling> scalings() {
    return IntStream.range(0, config.numHiddenLayers())
        .mapToObj(this::scaling)
        .filter(Objects::nonNull)
        .distinct()
        .toList();
  }

  /**
   * Copies all weights to the backend.
   *
   * @param maxModelLen positions that the RoPE table covers
   * @param layerLoaded told the number of layers done after each of them
   */
  public MixtralWeights upload(Backend backend, int maxModelLen, IntConsumer layerLoaded) {
    Tensor ropeTable =
        backend.upload(
            WeightRole.ROPE_TABLE,
            HostTensor.of(
                "rope table",
                Shape.of(maxModelLen, config.headDim()),
                RopeTable.cosinesAndSines(config.ropeTheta(), config.headDim(), maxModelLen)));
    return weights == null
        ? dummyWeights(backend, ropeTable, layerLoaded)
        : new WeightLoader(backend, config.dimensions(), precision, statistics)
            .load(weights, ropeTable, layerLoaded);
  }

  private MixtralWeights dummyWeights(Backend backend, Tensor ropeTable, IntConsumer layerLoaded) {
    DummyWeights dummy = new DummyWeights(backend, config, statistics);
    List<LayerWeights> layers = new ArrayList<>();
    for (int i = 0; i < config.numHiddenLayers(); i++) {
      layers.add(dummy.layer(precision.scaling(i)));
      layerLoaded.accept(layers.size());
    }
    return new MixtralWeights(
        dummy.vocabulary(WeightRole.EMBEDDING),
        layers,
        dummy.norm(),
        dummy.vocabulary(WeightRole.LINEAR),
        ropeTable);
  }

  /** Closes the mapped files; what was uploaded stays. */
  @Override
  public void close() {
    if (checkpoint != null) {
      checkpoint.close();
    }
  }
}
