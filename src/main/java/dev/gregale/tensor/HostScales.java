package dev.gregale.tensor;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import java.util.Comparator;
import java.util.List;
import java.util.stream.IntStream;

/**
 * The scales of a {@link HostTensor} of F8_E4M3 codes. A tensor that consists of several quantised
 * matrices one below the other (q, k and v; gate and up of all experts) keeps the scales of each:
 * its rows are cut into parts, and each part has a grid of blocks of its own. All grids below each
 * other are the tensor's grid, {@code [gridRows, gridColumns]}.
 *
 * @param scaling what the scales mean
 * @param partRows rows of each part, first to last; of a tensor {@code [E, N, M]} they add up to E
 *     N
 * @param slabs the grid, row-major, little-endian, in contiguous pieces one after the other
 */
public record HostScales(WeightScaling scaling, List<Integer> partRows, List<MemorySegment> slabs) {
  private static final ValueLayout.OfFloat FLOAT =
      ValueLayout.JAVA_FLOAT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);

  public HostScales {
    partRows = List.copyOf(partRows);
    slabs = List.copyOf(slabs);
  }

  /**
   * The same scale for every block of a tensor: of random codes.
   *
   * @param scale where exponents are kept, its mantissa is cut off
   */
  public static HostScales uniform(
      WeightScaling scaling, List<Integer> partRows, long columns, float scale) {
    int count = partRows.stream().mapToInt(scaling::gridRows).sum() * scaling.gridColumns(columns);
    MemorySegment values = MemorySegment.ofArray(new byte[count * scaling.dtype().bytes()]);
    if (scaling.dtype() == DType.F8_E8M0) {
      values.fill(E8M0.encode(scale));
    } else {
      for (int i = 0; i < count; i++) {
        values.set(FLOAT, (long) Float.BYTES * i, scale);
      }
    }
    return new HostScales(scaling, partRows, List.of(values));
  }

  /**
   * The scales of several matrices below each other. Inputs that are shared and have a fixed scale
   * get the largest of them, as in vLLM.
   *
   * @param parts all of the same kind
   */
  public static HostScales join(List<HostScales> parts) {
    WeightScaling scaling =
        parts.stream()
            .map(HostScales::scaling)
            .max(Comparator.comparing(each -> each.inputs().scale()))
            .orElseThrow();
    return new HostScales(
        scaling,
        parts.stream().flatMap(part -> part.partRows().stream()).toList(),
        parts.stream().flatMap(part -> part.slabs().stream()).toList());
  }

  /** The same weights, for products that do something else to their inputs. */
  public HostScales with(InputScaling inputs) {
    return new HostScales(scaling.with(inputs), partRows, slabs);
  }

  /** Rows of all parts' grids together. */
  public int gridRows() {
    return partRows.stream().mapToInt(scaling::gridRows).sum();
  }

  /** Of each row of the tensor the row of the grid that holds its scales. */
  public int[] gridRowOfRow() {
    return rows().gridRowOfRow();
  }

  /** Where the rows of the tensor have their scales in the grid. */
  public ScaleRows rows() {
    List<ScaleRows.Run> runs =
        IntStream.range(0, partRows.size())
            .mapToObj(part -> new ScaleRows.Run(part, partRows.get(part)))
            .toList();
    return ScaleRows.of(runs, scaling.blockRows());
  }

  /** All scales as fp32, {@code [gridRows, gridColumns]}. */
  public float[] values() {
    int scaleBytes = scaling.dtype().bytes();
    long bytes = slabs.stream().mapToLong(MemorySegment::byteSize).sum();
    float[] values = new float[Math.toIntExact(bytes / scaleBytes)];
    int at = 0;
    for (MemorySegment slab : slabs) {
      for (long i = 0; i < slab.byteSize() / scaleBytes; i++) {
        values[at++] = TensorReader.load(slab, scaling.dtype(), i);
      }
    }
    return values;
  }

  /**
   * @throws IllegalArgumentException if parts or bytes are not those of a tensor of that shape
   */
  void requireFor(String name, Shape shape) {
    long columns = shape.dim(shape.rank() - 1);
    long rows = columns == 0 ? 0 : shape.numElements() / columns;
    long inParts = partRows.stream().mapToLong(Integer::longValue).sum();
    long expected = (long) gridRows() * scaling.gridColumns(columns) * scaling.dtype().bytes();
    long found = slabs.stream().mapToLong(MemorySegment::byteSize).sum();
    if (inParts != rows || expected != found) {
      throw new IllegalArgumentException(
          "tensor %s %s: scales of %s for %d rows in %d parts, %d bytes, expected %d"
              .formatted(name, shape, scaling, inParts, partRows.size(), found, expected));
    }
  }
}
