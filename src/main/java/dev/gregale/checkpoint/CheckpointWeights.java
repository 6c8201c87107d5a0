package dev.gregale.checkpoint;

import dev.gregale.tensor.HostTensor;
import java.util.List;

/**
 * A model's weights in one form, whatever layout they were stored in; all in place, over the mapped
 * files of the {@link Checkpoint} they came from.
 *
 * @param embedding {@code [V, D]}
 * @param layers first to last
 * @param norm final RMSNorm {@code [D]}
 * @param lmHead {@code [V, D]}; the embedding itself where the two are tied
 */
public record CheckpointWeights(
    HostTensor embedding, List<Layer> layers, HostTensor norm, HostTensor lmHead) {

  public CheckpointWeights {
    layers = List.copyOf(layers);
  }

  /**
   * One decoder layer.
   *
   * @param inputNorm {@code [D]}
   * @param qkv {@code [(H + 2G) d, D]}: all query rows, then all key rows, then all value rows
   * @param output {@code [D, H d]}
   * @param postAttentionNorm {@code [D]}
   * @param router {@code [E, D]}
   * @param gateUp {@code [E, 2I, D]}: per expert, I gate rows and then I up rows
   * @param down {@code [E, D, I]}
   */
  public record Layer(
      HostTensor inputNorm,
      HostTensor qkv,
      HostTensor output,
      HostTensor postAttentionNorm,
      HostTensor router,
      HostTensor gateUp,
      HostTensor down) {}
}
