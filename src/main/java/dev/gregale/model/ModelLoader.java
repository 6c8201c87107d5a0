package dev.gregale.model;

import dev.gregale.backend.AttentionWeights;
import dev.gregale.backend.Backend;
import dev.gregale.backend.ExpertWeights;
import dev.gregale.backend.Tensor;
import dev.gregale.backend.WeightRole;
import dev.gregale.checkpoint.Checkpoint;
import dev.gregale.checkpoint.CheckpointException;
import dev.gregale.checkpoint.CheckpointLayout;
import dev.gregale.checkpoint.CheckpointReader;
import dev.gregale.checkpoint.CheckpointWeights;
import dev.gregale.tensor.HostTensor;
import dev.gregale.tensor.Shape;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.function.IntConsumer;
import org.jspecify.annotations.Nullable;

/**
 * A model directory on its way to a backend. Opening it checks every name, shape and range;
 * uploading copies the weights, once, from the mapped files.
 */
public final class ModelLoader implements AutoCloseable {
  private final MixtralConfig config;
  private final @Nullable Checkpoint checkpoint;
  private final @Nullable CheckpointWeights weights;

  private ModelLoader(
      MixtralConfig config, @Nullable Checkpoint checkpoint, @Nullable CheckpointWeights weights) {
    this.config = config;
    this.checkpoint = checkpoint;
    this.weights = weights;
  }

  /**
   * @throws CheckpointException if the directory holds no model that can be run, naming file,
   *     tensor or key, what was found and what was expected
   */
  public static ModelLoader open(Path directory, LoadFormat format) {
    MixtralConfig config = MixtralConfig.read(directory);
    if (format == LoadFormat.DUMMY) {
      return new ModelLoader(config, null, null);
    }
    Checkpoint checkpoint = Checkpoint.open(directory);
    try {
      requireFormat(directory, format, CheckpointLayout.of(checkpoint));
      return new ModelLoader(
          config, checkpoint, CheckpointReader.read(checkpoint, config.dimensions()));
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
        : storedWeights(backend, weights, ropeTable, layerLoaded);
  }

  private static MixtralWeights storedWeights(
      Backend backend, CheckpointWeights stored, Tensor ropeTable, IntConsumer layerLoaded) {
    List<LayerWeights> layers = new ArrayList<>();
    for (CheckpointWeights.Layer layer : stored.layers()) {
      layers.add(
          new LayerWeights(
              new AttentionWeights(
                  backend.upload(WeightRole.NORM, layer.inputNorm()),
                  backend.upload(WeightRole.QKV, layer.qkv()),
                  backend.upload(WeightRole.ATTENTION_OUTPUT, layer.output())),
              new ExpertWeights(
                  backend.upload(WeightRole.NORM, layer.postAttentionNorm()),
                  backend.upload(WeightRole.ROUTER, layer.router()),
                  backend.upload(WeightRole.EXPERTS_GATE_UP, layer.gateUp()),
                  backend.upload(WeightRole.EXPERTS_DOWN, layer.down()))));
      layerLoaded.accept(layers.size());
    }
    return new MixtralWeights(
        backend.upload(WeightRole.EMBEDDING, stored.embedding()),
        layers,
        backend.upload(WeightRole.NORM, stored.norm()),
        backend.upload(WeightRole.LINEAR, stored.lmHead()),
        ropeTable);
  }

  private MixtralWeights dummyWeights(Backend backend, Tensor ropeTable, IntConsumer layerLoaded) {
    DummyWeights dummy = new DummyWeights(backend, config);
    List<LayerWeights> layers = new ArrayList<>();
    for (int i = 0; i < config.numHiddenLayers(); i++) {
      layers.add(dummy.layer());
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
