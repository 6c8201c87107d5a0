package dev.gregale.backend.cuda;

import dev.gregale.backend.WeightRole;
import dev.gregale.tensor.DType;
import dev.gregale.tensor.HostScales;
import dev.gregale.tensor.HostTensor;
import dev.gregale.tensor.InputScaling;
import dev.gregale.tensor.Shape;
import dev.gregale.tensor.WeightScaling;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Consumer;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * FP8 weights: codes and scales into the tiles that the kernels read ({@code
 * sm90a/tiled_weights_fp8.cu}), or, where no kernel reads them so, into bf16, row by row.
 */
final class CodeUploader {
  private static final Logger log = LoggerFactory.getLogger(CodeUploader.class);
  private static final String SOURCE = "tiled_weights_fp8";
  private static final int THREADS = 256;
  private static final int SCALE_ROWS = 8; // of a tile, that share an fp32 scale
  private static final int TILE_COLUMNS = 128;
  private static final int MX_COLUMNS = 32;

  /** 2^(134 - 7): the largest factor of a code's exponent that bf16 holds. */
  private static final int MAX_EXPONENT = 134;

  private final CudaContext context;
  private final CudaMemory memory;
  private final KernelLauncher launcher;
  private final KernelModules modules;
  private final KernelChoice choice;
  private final Copies copies;
  private final KernelFunction dequantize;
  private boolean hasToldOfBf16;

  /** What goes for every weight. */
  interface Copies {
    /** Queues a copy of a tensor's bytes. */
    void copy(DevicePointer target, HostTensor source);

    /** Has a weight written in bf16, row by row, and brings it into its kernels' layout. */
    CudaTensor place(
        WeightRole role,
        WeightLayout layout,
        Shape shape,
        String name,
        Consumer<DevicePointer> write);
  }

  CodeUploader(
      CudaContext context,
      CudaMemory memory,
      KernelLauncher launcher,
      KernelModules modules,
      KernelChoice choice,
      Copies copies) {
    this.context = context;
    this.memory = memory;
    this.launcher = launcher;
    this.modules = modules;
    this.choice = choice;
    this.copies = copies;
    dequantize = modules.function("weights", "weights_bf16_from_codes");
  }

  /** Codes and scales as they came, in device memory until the weight is made of them. */
  private record Staged(
      DevicePointer codes, DevicePointer scales, DevicePointer gridRows, HostScales host) {

    int gridColumns(int k) {
      return host.scaling().gridColumns(k);
    }

    boolean isMx() {
      return host.scaling().dtype() == DType.F8_E8M0;
    }
  }

  /**
   * @param write puts the codes, row by row, at the address given
   */
  CudaTensor place(
      WeightRole role, Shape shape, String name, HostScales scales, Consumer<DevicePointer> write) {
    List<DevicePointer> stage = new ArrayList<>();
    Staged staged = stage(shape, name, scales, write, stage);
    WeightFormat format = format(role, shape, scales);
    CudaTensor weight =
        format == WeightFormat.BF16
            ? inBf16(role, shape, name, staged)
            : inTiles(role, shape, name, format, staged);
    context.synchronize();
    stage.forEach(memory::free);
    return weight;
  }

  private Staged stage(
      Shape shape,
      String name,
      HostScales scales,
      Consumer<DevicePointer> write,
      List<DevicePointer> stage) {
    DevicePointer codes = memory.allocate(shape.numElements(), "staging of " + name);
    stage.add(codes);
    write.accept(codes);
    WeightScaling scaling = scales.scaling();
    int k = shape.intDim(shape.rank() - 1);
    Shape grid = Shape.of(scales.gridRows(), scaling.gridColumns(k));
    HostTensor values = new HostTensor(name, scaling.dtype(), grid, scales.slabs());
    int[] rows = scales.gridRowOfRow();
    HostTensor rowsOfGrid =
        new HostTensor(
            name, DType.I32, Shape.of(rows.length), List.of(MemorySegment.ofArray(rows)));
    DevicePointer[] arrays = new DevicePointer[2];
    for (int i = 0; i < 2; i++) {
      HostTensor array = i == 0 ? values : rowsOfGrid;
      arrays[i] = memory.allocate(array.shape().numBytes(array.dtype()), "scales of " + name);
      stage.add(arrays[i]);
      copies.copy(arrays[i], array);
    }
    return new Staged(codes, arrays[0], arrays[1], scales);
  }

  /** The format of the tiles that hold such scales exactly, or bf16 where there is none. */
  private WeightFormat format(WeightRole role, Shape shape, HostScales scales) {
    int k = shape.intDim(shape.rank() - 1);
    WeightScaling scaling = scales.scaling();
    if (choice.layout(role, shape) != WeightLayout.TILED) {
      return WeightFormat.BF16;
    }
    if (scaling.dtype() == DType.F8_E8M0) {
      boolean fits =
          scaling.blockColumns() == MX_COLUMNS && largestExponent(scales) <= MAX_EXPONENT;
      return fits ? WeightFormat.MXFP8 : WeightFormat.BF16;
    }
    boolean wholeTiles = scaling.blockColumns() % TILE_COLUMNS == 0 || scaling.blockColumns() >= k;
    return wholeTiles && hasScalesOfEightRows(role, shape, scales)
        ? WeightFormat.FP8
        : WeightFormat.BF16;
  }

  private static int largestExponent(HostScales scales) {
    int largest = 0;
    for (MemorySegment slab : scales.slabs()) {
      for (byte exponent : slab.toArray(ValueLayout.JAVA_BYTE)) {
        largest = Math.max(largest, Byte.toUnsignedInt(exponent));
      }
    }
    return largest;
  }

  private static boolean hasScalesOfEightRows(WeightRole role, Shape shape, HostScales scales) {
    TiledMatrix matrix = TiledMatrix.of(role, shape);
    int group = matrix.intermediate() > 0 ? matrix.intermediate() : matrix.rows();
    int[] gridRows = scales.gridRowOfRow();
    for (int row = 0; row < gridRows.length; row++) {
      int inGroup = row % group;
      if (gridRows[row] != gridRows[row - inGroup % SCALE_ROWS]) {
        return false;
      }
    }
    return true;
  }

  private CudaTensor inTiles(
      WeightRole role, Shape shape, String name, WeightFormat format, Staged staged) {
    TiledMatrix matrix = TiledMatrix.of(role, shape);
    long tileBytes = matrix.tileBytes(format);
    long scaleBytes = format.scaleBytes(matrix.groups(), matrix.n(), matrix.k());
    String what = "weight %s %s".formatted(name, shape);
    DevicePointer tiles = memory.allocate(tileBytes, what);
    DevicePointer scales = memory.allocate(scaleBytes, "scales of " + what);
    long codes = staged.codes().address();
    if (matrix.intermediate() > 0) {
      long half = (long) matrix.intermediate() * matrix.k();
      launcher.begin().add(tiles.address()).add(codes).add(codes + half).add(2 * half);
      launcher.add(matrix.intermediate()).add(matrix.k());
      launch("tile_gate_up_codes_fp8", matrix, format);
    } else {
      launcher.begin().add(tiles.address()).add(codes).add(matrix.rows()).add(matrix.k());
      launch("tile_codes_fp8", matrix, format);
    }
    launcher
        .begin()
        .add(scales.address())
        .add(staged.scales().address())
        .add(staged.gridRows().address())
        .add(matrix.rows())
        .add(matrix.intermediate())
        .add(staged.gridColumns(matrix.k()));
    if (format == WeightFormat.FP8) {
      launcher.add(staged.host().scaling().blockColumns());
    }
    launch(format == WeightFormat.FP8 ? "tile_scales_fp8" : "tile_exponents_mxfp8", matrix, format);
    return new CudaTensor(
        DType.F8_E4M3,
        shape,
        WeightLayout.TILED,
        tiles,
        new CodeScales(format, scales, tileBytes + scaleBytes),
        staged.host().scaling().inputs());
  }

  private void launch(String kernel, TiledMatrix matrix, WeightFormat format) {
    launcher.launch(
        modules.function(SOURCE, kernel),
        format.kTiles(matrix.k()),
        TiledLayout.nTiles(matrix.n()),
        matrix.groups(),
        THREADS,
        0);
  }

  /**
   * For GPUs before Hopper, and shapes or scales that no tile holds: exact codes, rounded to bf16.
   */
  private CudaTensor inBf16(WeightRole role, Shape shape, String name, Staged staged) {
    if (!hasToldOfBf16) {
      hasToldOfBf16 = true;
      log.warn(
          "{} {} is kept in bf16, as others may be: no kernel of {} reads its FP8 codes with scales"
              + " of {}",
          name,
          shape,
          context.device().architecture(),
          staged.host().scaling());
    }
    CudaTensor weight =
        copies.place(
            role,
            layoutInBf16(role, shape, staged.host().scaling().inputs()),
            shape,
            name,
            target ->
                launcher
                    .begin()
                    .add(target.address())
                    .add(staged.codes().address())
                    .add(staged.scales().address())
                    .add(staged.gridRows().address())
                    .add(shape.numElements())
                    .add(shape.intDim(shape.rank() - 1))
                    .add(staged.gridColumns(shape.intDim(shape.rank() - 1)))
                    .add(staged.host().scaling().blockColumns())
                    .add(staged.isMx() ? 1 : 0)
                    .launch(dequantize, WeightUploader.blocks(shape.numElements()), THREADS));
    return weight.with(staged.host().scaling().inputs());
  }

  /**
   * What goes into down is rounded where it lies. A tile holds 64 columns of a row, enough for
   * MXFP8's blocks, but not for a scale of the row.
   */
  private WeightLayout layoutInBf16(WeightRole role, Shape shape, InputScaling inputs) {
    boolean roundsRows =
        role != WeightRole.LINEAR
            && inputs.when() == InputScaling.When.ALWAYS
            && inputs.kind() != InputScaling.Kind.MX_32;
    return roundsRows ? WeightLayout.ROW_MAJOR : choice.layout(role, shape);
  }
}
