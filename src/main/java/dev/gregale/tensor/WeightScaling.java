package dev.gregale.tensor;

/**
 * How a weight of F8_E4M3 codes is scaled: value = code * scale of its block, in fp32. Blocks are
 * counted from the first row and column of each matrix that was quantised; those at its edges may
 * be partial.
 *
 * @param dtype of the scales: F32, or F8_E8M0, which is 2^(byte - 127)
 * @param blockRows rows of a block, or {@link #WHOLE}
 * @param blockColumns columns of a block (along the inputs), or {@link #WHOLE}
 * @param inputs what is to be done to the inputs of a product with it
 */
public record WeightScaling(DType dtype, int blockRows, int blockColumns, InputScaling inputs) {

  /** As long as the matrix. */
  public static final int WHOLE = Integer.MAX_VALUE;

  public WeightScaling {
    if (dtype != DType.F32 && dtype != DType.F8_E8M0) {
      throw new IllegalArgumentException("scales of " + dtype + ", expected F32 or F8_E8M0");
    }
    if (blockRows < 1 || blockColumns < 1) {
      throw new IllegalArgumentException("blocks of %d x %d".formatted(blockRows, blockColumns));
    }
  }

  /** One fp32 scale for each matrix. */
  public static WeightScaling ofWhole(InputScaling inputs) {
    return new WeightScaling(DType.F32, WHOLE, WHOLE, inputs);
  }

  /** Blocks above each other in a matrix of that many rows. */
  public int gridRows(long rows) {
    return Math.toIntExact(Math.ceilDiv(rows, blockRows));
  }

  /** Blocks beside each other in a matrix of that many columns. */
  public int gridColumns(long columns) {
    return Math.toIntExact(Math.ceilDiv(columns, blockColumns));
  }

  /** What an element of a square matrix of that size takes, its share of the scales included. */
  public double bytesPerElement(int size) {
    return 1 + (double) gridRows(size) * gridColumns(size) * dtype.bytes() / ((double) size * size);
  }

  public WeightScaling with(InputScaling other) {
    return new WeightScaling(dtype, blockRows, blockColumns, other);
  }
}
