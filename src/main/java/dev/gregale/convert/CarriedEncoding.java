package dev.gregale.convert;

import dev.gregale.checkpoint.QuantizationConfig;
import dev.gregale.checkpoint.TensorSpec;
import dev.gregale.tensor.DType;
import dev.gregale.tensor.HostTensor;
import java.io.IOException;
import java.util.List;

/**
 * Codes and scales of a quantised source, byte for byte; its other tensors are cast.
 *
 * @param quantization of the source
 */
record CarriedEncoding(QuantizationConfig quantization, WeightCast cast) implements TensorEncoding {
  private static final WeightCast AS_STORED = new WeightCast(null);

  @Override
  public List<TensorSpec> targets(HostTensor source) {
    if (MixtralTensorMapping.isCodes(source)) {
      return List.of(new TensorSpec(source.name(), DType.F8_E4M3, source.shape()));
    }
    return quantization.isScale(source.name()) ? AS_STORED.targets(source) : cast.targets(source);
  }

  @Override
  public void forEachPiece(HostTensor source, TensorSpec target, int maxBytes, Sink sink)
      throws IOException {
    if (MixtralTensorMapping.isCodes(source) || quantization.isScale(source.name())) {
      AS_STORED.forEachPiece(source, AS_STORED.targets(source).getFirst(), maxBytes, sink);
    } else {
      cast.forEachPiece(source, target, maxBytes, sink);
    }
  }
}
