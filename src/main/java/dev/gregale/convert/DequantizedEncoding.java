package dev.gregale.convert;

import static dev.gregale.checkpoint.CheckpointException.quote;

import dev.gregale.checkpoint.CheckpointException;
import dev.gregale.checkpoint.QuantizationConfig;
import dev.gregale.checkpoint.ScaleGrid;
import dev.gregale.checkpoint.TensorSpec;
import dev.gregale.tensor.DType;
import dev.gregale.tensor.E4M3;
import dev.gregale.tensor.HostTensor;
import dev.gregale.tensor.TensorReader;
import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.List;
import java.util.Map;

/**
 * What the codes of a quantised source mean: code * scale in fp32, as products with them have it,
 * rounded to the target's type. Scales are left out, other tensors are cast.
 *
 * @param quantization of the source
 * @param scales of each weight of codes, by its name
 * @param dtype of what was codes
 */
record DequantizedEncoding(
    QuantizationConfig quantization, Map<String, Scales> scales, DType dtype, WeightCast cast)
    implements TensorEncoding {
  private static final int PIECE_BYTES = 1 << 20;

  /**
   * Scales of a weight.
   *
   * @param stored as the source has them, in the grid's order
   */
  record Scales(ScaleGrid grid, HostTensor stored) {}

  @Override
  public List<TensorSpec> targets(HostTensor source) {
    if (MixtralTensorMapping.isCodes(source)) {
      return List.of(new TensorSpec(source.name(), dtype, source.shape()));
    }
    return quantization.isScale(source.name()) ? List.of() : cast.targets(source);
  }

  @Override
  public void forEachPiece(HostTensor source, TensorSpec target, int maxBytes, Sink sink)
      throws IOException {
    Scales own = scales.get(source.name());
    if (own == null) {
      cast.forEachPiece(source, target, maxBytes, sink);
      return;
    }
    Decoder decoder = new Decoder(source, own);
    int elements = Math.min(maxBytes, PIECE_BYTES) / dtype.bytes();
    MemorySegment buffer = MemorySegment.ofArray(new byte[elements * dtype.bytes()]);
    for (MemorySegment slab : source.slabs()) {
      for (long at = 0; at < slab.byteSize(); at += elements) {
        int count = (int) Math.min(elements, slab.byteSize() - at);
        decoder.decode(slab.asSlice(at, count), buffer);
        sink.accept(buffer.asSlice(0, (long) count * dtype.bytes()));
      }
    }
  }

  /** Decodes a weight, first element to last. */
  private final class Decoder {
    private final String name;
    private final int width;
    private final int blockColumns;
    private final int gridColumns;
    private final int[] gridRowOfRow;
    private final float[] scales;
    private int row;
    private int column;

    Decoder(HostTensor weight, Scales own) {
      this.name = weight.name();
      this.width = weight.shape().intDim(weight.shape().rank() - 1);
      this.blockColumns = Math.min(width, quantization.scaling().blockColumns());
      this.gridColumns = own.grid().columns();
      this.gridRowOfRow = own.grid().rows().gridRowOfRow();
      this.scales = values(own.stored());
    }

    private float[] values(HostTensor stored) {
      DType scaleType = quantization.scaling().dtype();
      DType read = scaleType == DType.F8_E8M0 ? scaleType : stored.dtype(); // stored as U8, too
      return TensorReader.toFloats(
          new HostTensor(stored.name(), read, stored.shape(), stored.slabs()));
    }

    void decode(MemorySegment codes, MemorySegment values) {
      int count = (int) codes.byteSize();
      for (int done = 0; done < count; ) {
        float scale = scales[gridRowOfRow[row] * gridColumns + column / blockColumns];
        int inBlock = Math.min(blockColumns - column % blockColumns, width - column);
        int end = Math.min(count, done + inBlock);
        column += end - done;
        for (; done < end; done++) {
          float code = E4M3.decode(codes.get(ValueLayout.JAVA_BYTE, done));
          if (Float.isNaN(code)) {
            throw new CheckpointException(
                "tensor %s: a value is NaN; the checkpoint is damaged, or was never good"
                    .formatted(quote(name)));
          }
          WeightCast.put(name, code * scale, dtype, values, done);
        }
        if (column == width) {
          column = 0;
          row++;
        }
      }
    }
  }
}
