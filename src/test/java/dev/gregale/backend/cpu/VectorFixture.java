package dev.gregale.backend.cpu;

import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.gregale.backend.Device;
import dev.gregale.backend.Tensor;
import dev.gregale.tensor.DType;
import dev.gregale.tensor.Shape;
import java.util.ArrayList;
import java.util.List;
import java.util.SplittableRandom;
import org.junit.jupiter.api.AfterEach;

/** Vector backends that are closed after a test, and arrays of theirs. */
abstract class VectorFixture {
  private final List<Device> backends = new ArrayList<>();
  final SplittableRandom random = new SplittableRandom(11);

  Device vector(int threads) {
    backends.add(new VectorBackend(threads));
    return backends.getLast();
  }

  @AfterEach
  void closeBackends() {
    backends.forEach(Device::close);
  }

  float[] gaussians(int count, double scale) {
    float[] values = new float[count];
    for (int i = 0; i < count; i++) {
      values[i] = (float) (scale * random.nextGaussian());
    }
    return values;
  }

  static Tensor floats(Device backend, Shape shape, float[] values) {
    Tensor tensor = backend.allocate(DType.F32, shape);
    backend.write(tensor, values, values.length);
    return tensor;
  }

  static Tensor ints(Device backend, Shape shape, int... values) {
    Tensor tensor = backend.allocate(DType.I32, shape);
    backend.write(tensor, values, values.length);
    return tensor;
  }

  static float[] read(Device backend, Tensor tensor) {
    float[] values = new float[Math.toIntExact(tensor.shape().numElements())];
    backend.read(tensor, values, values.length);
    return values;
  }

  static void assertClose(float[] expected, float[] found, double tolerance) {
    double largest = 0;
    for (float value : expected) {
      largest = Math.max(largest, Math.abs(value));
    }
    for (int i = 0; i < expected.length; i++) {
      assertEquals(expected[i], found[i], tolerance * largest, "element " + i);
    }
  }
}
