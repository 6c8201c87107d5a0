package dev.gregale.convert;

import dev.gregale.checkpoint.CheckpointLayout;
import dev.gregale.checkpoint.ModelDimensions;
import dev.gregale.tensor.DType;
import dev.gregale.tensor.HostTensor;
import dev.gregale.tensor.Shape;
import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;

/**
 * A checkpoint of Mixtral-8x7B's shape with few layers and random weights: 0.5 GB and 2.9 GB a
 * layer. {@code java -cp ... dev.gregale.convert.LargeModel DIR LAYERS} writes one.
 */
final class LargeModel {
  private static final int RANDOM_BYTES = 64 << 20;

  private LargeModel() {}

  public static void main(String[] args) throws IOException {
    write(Path.of(args[0]), Integer.parseInt(args[1]));
  }

  /** Writes a published Hugging Face checkpoint in one file; every tensor begins elsewhere. */
  static void write(Path directory, int layers) throws IOException {
    ModelDimensions dims = new ModelDimensions(4096, layers, 32, 8, 128, 8, 14336, 32000, false);
    byte[] random = new byte[RANDOM_BYTES];
    new Random(1).nextBytes(random);
    MemorySegment bytes = MemorySegment.ofArray(random);
    List<HostTensor> tensors = new ArrayList<>();
    CheckpointLayout.HUGGING_FACE.forEachTensor(
        dims, (name, shape) -> tensors.add(tensor(name, shape, bytes, 1000L * tensors.size())));
    Models.write(directory, dims, tensors);
  }

  private static HostTensor tensor(String name, Shape shape, MemorySegment bytes, long from) {
    List<MemorySegment> slabs = new ArrayList<>();
    long at = from;
    for (long left = shape.numBytes(DType.BF16); left > 0; at = 0) {
      long count = Math.min(left, bytes.byteSize() - at);
      slabs.add(bytes.asSlice(at, count));
      left -= count;
    }
    return new HostTensor(name, DType.BF16, shape, slabs);
  }
}
