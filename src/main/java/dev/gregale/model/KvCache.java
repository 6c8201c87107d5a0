package dev.gregale.model;

import dev.gregale.backend.AttentionShape;
import dev.gregale.backend.Backend;
import dev.gregale.backend.KvLayer;
import dev.gregale.tensor.DType;
import java.util.ArrayList;
import java.util.List;

/** The paged keys and values of all layers; block ids mean the same block in each of them. */
public record KvCache(List<KvLayer> layers) {

  public KvCache {
    layers = List.copyOf(layers);
  }

  public static KvCache allocate(
      Backend backend, MixtralConfig config, int numBlocks, int blockSize, DType dtype) {
    AttentionShape shape = config.attentionShape();
    List<KvLayer> layers = new ArrayList<>();
    for (int i = 0; i < config.numHiddenLayers(); i++) {
      layers.add(backend.allocateKv(numBlocks, blockSize, shape, dtype));
    }
    return new KvCache(layers);
  }

  /** Bytes that one block takes over all layers. */
  public static long bytesPerBlock(
      Backend backend, MixtralConfig config, int blockSize, DType dtype) {
    AttentionShape shape = config.attentionShape();
    return config.numHiddenLayers() * backend.kvBlockBytes(blockSize, shape, dtype)
        + backend.kvSharedBlockBytes(blockSize, shape, dtype);
  }

  public KvLayer layer(int index) {
    return layers.get(index);
  }
}
