package dev.gregale.backend.cuda;

import dev.gregale.backend.WeightRole;
import dev.gregale.tensor.DType;
import dev.gregale.tensor.HostScales;
import dev.gregale.tensor.HostTensor;
import dev.gregale.tensor.Shape;
import dev.gregale.tensor.WeightScaling;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.function.Consumer;
import java.util.stream.IntStream;

/**
 * Brings weights to the device: mapped file, page-locked buffer, device, and there to the precision
 * that the role is kept in. Nothing waits but for a free buffer.
 */
final class WeightUploader {
  /** Bytes that one thread copies out of the page cache at a time. */
  private static final int PIECE_BYTES = 2 << 20;

  private static final int THREADS = 256;
  private static final double DUMMY_DEVIATION = 0.02;
  private static final double MEAN_CODE = 108; // root mean square of all codes
  private final CudaContext context;
  private final CudaMemory memory;
  private final PinnedRing ring;
  private final KernelLauncher launcher;
  private final KernelFunction bf16FromF32;
  private final KernelFunction bf16FromF16;
  private final KernelFunction f32FromBf16;
  private final KernelFunction f32FromF16;
  private final KernelFunction random;
  private final KernelChoice choice;
  private final WeightTiler tiler;
  private final CodeUploader codes;
  private final KernelFunction randomCodes;

  WeightUploader(
      CudaContext context,
      CudaMemory memory,
      PinnedRing ring,
      KernelLauncher launcher,
      KernelModules modules,
      KernelChoice choice) {
    this.context = context;
    this.memory = memory;
    this.ring = ring;
    this.launcher = launcher;
    this.choice = choice;
    tiler = new WeightTiler(launcher, modules);
    bf16FromF32 = modules.function("weights", "weights_bf16_from_f32");
    bf16FromF16 = modules.function("weights", "weights_bf16_from_f16");
    f32FromBf16 = modules.function("weights", "weights_f32_from_bf16");
    f32FromF16 = modules.function("weights", "weights_f32_from_f16");
    random = modules.function("weights", "weights_random_bf16");
    randomCodes = modules.function("weights", "weights_random_codes");
    codes = new CodeUploader(context, memory, launcher, modules, choice, copies());
  }

  /** What a weight is kept in: norm gains and angles in fp32, all that is multiplied in bf16. */
  static DType storedAs(WeightRole role) {
    return switch (role) {
      case NORM, ROPE_TABLE -> DType.F32;
      case EMBEDDING, QKV, ATTENTION_OUTPUT, LINEAR, ROUTER, EXPERTS_GATE_UP, EXPERTS_DOWN ->
          DType.BF16;
    };
  }

  private CodeUploader.Copies copies() {
    return new CodeUploader.Copies() {
      @Override
      public void copy(DevicePointer target, HostTensor source) {
        WeightUploader.this.copy(
            source, (offset, bytes) -> ring.copyToDevice(target, offset, bytes));
      }

      @Override
      public CudaTensor place(
          WeightRole role,
          WeightLayout layout,
          Shape shape,
          String name,
          Consumer<DevicePointer> write) {
        return WeightUploader.this.place(role, layout, shape, name, write);
      }
    };
  }

  CudaTensor upload(WeightRole role, HostTensor source) {
    HostScales scales = source.scales();
    if (scales != null) {
      return codes.place(
          role,
          source.shape(),
          source.name(),
          scales,
          target -> copy(source, (offset, bytes) -> ring.copyToDevice(target, offset, bytes)));
    }
    DType stored = storedAs(role);
    return place(
        role,
        choice.layout(role, source.shape()),
        source.shape(),
        source.name(),
        target -> {
          if (source.dtype() == stored) {
            copy(source, (offset, bytes) -> ring.copyToDevice(target, offset, bytes));
          } else {
            uploadConverted(source, target, stored);
          }
        });
  }

  /**
   * Has a weight written row by row, and brings it into the layout that its kernels read.
   *
   * @param write puts the rows at the address given
   */
  private CudaTensor place(
      WeightRole role,
      WeightLayout layout,
      Shape shape,
      String name,
      Consumer<DevicePointer> write) {
    DType stored = storedAs(role);
    String what = "weight %s %s".formatted(name, shape);
    long bytes = shape.numBytes(stored);
    DevicePointer target =
        switch (layout) {
          case ROW_MAJOR -> {
            DevicePointer rows = memory.allocate(bytes, what);
            write.accept(rows);
            yield rows;
          }
          case GAIN -> {
            DevicePointer gain = memory.allocate(bytes + shape.numBytes(DType.BF16), what);
            write.accept(gain);
            convert(bf16FromF32, gain.address() + bytes, gain.address(), shape.numElements());
            yield gain;
          }
          case TILED -> tiled(role, shape, what, write);
        };
    return new CudaTensor(stored, shape, layout, target);
  }

  private DevicePointer tiled(
      WeightRole role, Shape shape, String what, Consumer<DevicePointer> write) {
    DevicePointer tiles = memory.allocate(tiler.numBytes(role, shape), what);
    DevicePointer rows = memory.allocate(shape.numBytes(DType.BF16), "staging of " + what);
    write.accept(rows);
    tiler.tile(role, shape, tiles.address(), rows.address());
    context.synchronize();
    memory.free(rows);
    return tiles;
  }

  private void convert(KernelFunction conversion, long to, long from, long count) {
    launcher.begin().add(to).add(from).add(count).launch(conversion, blocks(count), THREADS);
  }

  /** A piece of a tensor has been written to the ring's room. */
  @FunctionalInterface
  private interface Piece {
    void send(long offset, int bytes);
  }

  private void copy(HostTensor source, Piece piece) {
    long start = 0;
    for (MemorySegment slab : source.slabs()) {
      for (long at = 0; at < slab.byteSize(); ) {
        int bytes = (int) Math.min(PinnedRing.BUFFER_BYTES, slab.byteSize() - at);
        copyInParallel(slab.asSlice(at, bytes), ring.room(bytes));
        piece.send(start + at, bytes);
        at += bytes;
      }
      start += slab.byteSize();
    }
  }

  /** One thread reads a mapped file slower than the bus takes it. */
  private static void copyInParallel(MemorySegment from, MemorySegment to) {
    int pieces = Math.toIntExact((from.byteSize() + PIECE_BYTES - 1) / PIECE_BYTES);
    IntStream.range(0, pieces)
        .parallel()
        .forEach(
            i -> {
              long start = (long) i * PIECE_BYTES;
              long bytes = Math.min(PIECE_BYTES, from.byteSize() - start);
              MemorySegment.copy(from, start, to, start, bytes);
            });
  }

  private void uploadConverted(HostTensor source, DevicePointer target, DType stored) {
    DevicePointer stage = memory.allocate(PinnedRing.BUFFER_BYTES, "staging of a weight");
    KernelFunction convert = conversion(source.dtype(), stored);
    copy(
        source,
        (offset, bytes) -> {
          ring.copyToDevice(stage, 0, bytes);
          long first = offset / source.dtype().bytes();
          long count = bytes / source.dtype().bytes();
          convert(convert, target.address() + first * stored.bytes(), stage.address(), count);
        });
    context.synchronize();
    memory.free(stage);
  }

  private KernelFunction conversion(DType from, DType to) {
    if (from == DType.F32 && to == DType.BF16) {
      return bf16FromF32;
    }
    if (from == DType.F16) {
      return to == DType.BF16 ? bf16FromF16 : f32FromF16;
    }
    if (from == DType.BF16 && to == DType.F32) {
      return f32FromBf16;
    }
    throw new IllegalArgumentException("weights cannot be " + from);
  }

  static int blocks(long count) {
    return Math.clamp((count + THREADS - 1) / THREADS, 1, 4096);
  }

  /** Random values made on the device; norm gains are ones. */
  CudaTensor dummy(WeightRole role, Shape shape, long seed) {
    if (storedAs(role) == DType.F32) {
      float[] ones = new float[Math.toIntExact(shape.numElements())];
      Arrays.fill(ones, 1);
      return upload(role, HostTensor.of("dummy", shape, ones));
    }
    return place(
        role,
        choice.layout(role, shape),
        shape,
        role.name(),
        target ->
            launcher
                .begin()
                .add(target.address())
                .add(shape.numElements())
                .add(seed)
                .add((float) DUMMY_DEVIATION)
                .launch(random, blocks(shape.numElements() / 4), THREADS));
  }

  /** Random codes under scales that give the same deviation; each matrix has scales of its own. */
  CudaTensor dummy(WeightRole role, WeightScaling scaling, Shape shape, long seed) {
    TiledMatrix matrix = TiledMatrix.of(role, shape);
    int partRows = matrix.intermediate() > 0 ? matrix.intermediate() : matrix.rows();
    List<Integer> parts =
        Collections.nCopies(matrix.groups() * (matrix.rows() / partRows), partRows);
    float scale = (float) (DUMMY_DEVIATION / MEAN_CODE);
    return codes.place(
        role,
        shape,
        role.name(),
        HostScales.uniform(scaling, parts, matrix.k(), scale),
        target ->
            launcher
                .begin()
                .add(target.address())
                .add(shape.numElements())
                .add(seed)
                .launch(randomCodes, blocks(shape.numElements() / 8), THREADS));
  }
}
