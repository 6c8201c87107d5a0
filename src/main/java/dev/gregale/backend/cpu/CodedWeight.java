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
import java.util.stream.IntStream;

/** A quantised weight as the oracle keeps it: codes and scales, multiplied as they are read. */
final class CodedWeight implements Tensor, WeightElements {
  private final Shape shape;
  private final WeightScaling scaling;
  private final byte[][] codes; // [rows, width]
  private final float[] scales; // [gridRows, gridColumns]
  private final int[] gridRowOfRow;
  private final int gridColumns;
  private final int[] blockOfColumn;

  CodedWeight(HostTensor source) {
    HostScales scales = Objects.requireNonNull(source.scales());
    shape = source.shape();
    scaling = scales.scaling();
    gridRowOfRow = scales.gridRowOfRow();
    this.scales = scales.values();
    int width = shape.intDim(shape.rank() - 1);
    gridColumns = scaling.gridColumns(width);
    blockOfColumn = IntStream.range(0, width).map(i -> i / scaling.blockColumns()).toArray();
    codes = new byte[gridRowOfRow.length][width];
    TensorReader reader = new TensorReader(source);
    for (int row = 0; row < codes.length; row++) {
      reader.readCodes(row, 0, width, codes[row]);
    }
  }

  @Override
  public float at(int row, int column) {
    int block = gridRowOfRow[row] * gridColumns + blockOfColumn[column];
    return E4M3.decode(codes[row][column]) * scales[block];
  }

  /** Rows {@code [rows, M]} as they are to be multiplied by that weight, quantised or not. */
  static float[] inputs(Tensor weight, float[] x, int rows) {
    if (!(weight instanceof CodedWeight coded)
        || coded.scaling.inputs().when() != InputScaling.When.ALWAYS) {
      return x;
    }
    int width = coded.shape.intDim(coded.shape.rank() - 1);
    InputQuantizer quantizer = new InputQuantizer(coded.scaling.inputs());
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
