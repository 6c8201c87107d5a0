package dev.gregale.backend.parallel;

import dev.gregale.backend.KvLayer;
import java.util.List;

/**
 * A layer's cache, each rank's for its own heads.
 *
 * @param parts one per rank
 */
record RankKvLayer(List<KvLayer> parts) implements KvLayer {

  RankKvLayer {
    parts = List.copyOf(parts);
  }

  static KvLayer part(KvLayer layer, int rank) {
    return ((RankKvLayer) layer).parts.get(rank);
  }

  @Override
  public int blockSize() {
    return parts.getFirst().blockSize();
  }

  @Override
  public int numBlocks() {
    return parts.getFirst().numBlocks();
  }
}
