package dev.gregale.backend.cpu;

import dev.gregale.backend.Tensor;
import dev.gregale.quantization.InputQuantizer;
import dev.gregale.tensor.DType;
import dev.gregale.tensor.E4M3;
import dev.gregale.tensor.HostScales;
import dev.gregale.tensor.HostTensor;
import dev.gregale.tensor.InputScaling;
import dev.gregale.tensor.Shape;
import dev.gregale.tensor.TensorReader;
import dev.gregale.tensor.WeightScaling;
import java.util.Objects;

/** A quantised weight as the oracle keeps it: codes and scales, multiplied as they are read. */
final class CodedWeight implements Tensor {
  private final Shape shape;
  private final WeightScaling scaling;
  private final byte[][] codes; // [rows, width]
  private final float[] scales; // [gridRows, gridColumns]
  private final int[] gridRowOfRow;
  private final int gridColumns;

  CodedWeight(HostTensor source) {
    HostScales scales = Objects.requireNonNull(source.scales());
    shape = source.shape();
    scaling = scales.scaling();
    gridRowOfRow = scales.gridRowOfRow();
    this.scales = scales.values();
    int width = shape.intDim(shape.rank() - 1);
    gridColumns = scaling.gridColumns(width);
    codes = new byte[gridRowOfRow.length][width];
    TensorReader reader = new TensorReader(source);
    for (int row = 0; row < codes.length; row++) {
      reader.readCodes(row, 0, width, codes[row]);
    }
  }

  /**
   * @param row counted over all axes but the last
   */
  float at(int row, int column) {
    int block = gridRowOfRow[row] * gridColumns + column / scaling.blockColumns();
    return E4M3.decode(codes[row][column]) * scales[block];
  }

  /** The rows as they are to be multiplied by this weight. */
  float[] inputs(float[] x, int rows) {
    if (scaling.inputs().when() != InputScaling.When.ALWAYS) {
      return x;
    }
    int width = shape.intDim(shape.rank() - 1);
    InputQuantizer quantizer = new InputQuantizer(scaling.inputs());
    float[] rounded = new float[rows * width];
    for (int row = 0; row < rows; row++) {
      quantizer.round(x, row * width, width, rounded, row * width);
    }
    return rounded;
  }

  @Override
  public DType dtype() {
    return DType.F8_E4M3;
  }

  @Override
  public Shape shape() {
    return shape;
  }
}
