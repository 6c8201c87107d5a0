package dev.gregale.convert;

import dev.gregale.checkpoint.TensorSpec;
import dev.gregale.quantization.WeightQuantizer;
import dev.gregale.tensor.DType;
import dev.gregale.tensor.HostTensor;
import dev.gregale.tensor.ScaleRows;
import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.util.List;

/**
 * Codes and scales of the tensors that a format includes; the others are cast. A tensor is read
 * once for its scales and once more for its codes, so that memory does not grow with it.
 */
record QuantizedEncoding(QuantizedFormat format, WeightCast cast) implements TensorEncoding {

  @Override
  public List<TensorSpec> targets(HostTensor source) {
    if (!format.includes(source.name())) {
      return cast.targets(source);
    }
    return List.of(
        new TensorSpec(source.name(), DType.F8_E4M3, source.shape()),
        new TensorSpec(
            format.scaleName(source.name()),
            format.scaleDType(),
            format.grid(source.name(), source.shape()).shape()));
  }

  @Override
  public void forEachPiece(HostTensor source, TensorSpec target, int maxBytes, Sink sink)
      throws IOException {
    if (!format.includes(source.name())) {
      cast.forEachPiece(source, target, maxBytes, sink);
      return;
    }
    ScaleRows scaleRows = format.grid(source.name(), source.shape()).rows();
    WeightQuantizer quantizer = new WeightQuantizer(source, scaleRows, format.recipe());
    if (target.dtype() != DType.F8_E4M3) {
      sink.accept(quantizer.scales());
      return;
    }
    int rows = Math.toIntExact(source.shape().numElements() / quantizer.width());
    int some = Math.clamp(maxBytes / Math.max(1, quantizer.width()), 1, rows);
    byte[] codes = new byte[some * quantizer.width()];
    for (int row = 0; row < rows; row += some) {
      int end = Math.min(rows, row + some);
      quantizer.codes(row, end, codes);
      sink.accept(MemorySegment.ofArray(codes).asSlice(0, (long) (end - row) * quantizer.width()));
    }
  }
}
