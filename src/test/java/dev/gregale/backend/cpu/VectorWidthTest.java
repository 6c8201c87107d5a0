package dev.gregale.backend.cpu;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;

import dev.gregale.backend.AttentionShape;
import dev.gregale.backend.Device;
import dev.gregale.backend.ExpertRouting;
import dev.gregale.backend.ForwardBatch;
import dev.gregale.backend.Kernels;
import dev.gregale.backend.KvLayer;
import dev.gregale.backend.Tensor;
import dev.gregale.backend.WeightRole;
import dev.gregale.quantization.Float8BlockScaling;
import dev.gregale.quantization.MXFP8BlockScaling;
import dev.gregale.quantization.MXFP8BlockScaling.Rounding;
import dev.gregale.quantization.Recipe;
import dev.gregale.quantization.WeightQuantizer;
import dev.gregale.tensor.DType;
import dev.gregale.tensor.HostTensor;
import dev.gregale.tensor.InputScaling.When;
import dev.gregale.tensor.Shape;
import java.lang.foreign.Arena;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Set;
import java.util.SplittableRandom;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Test;

/** A layer has the same bits with this machine's vectors and with vectors of 4 floats. */
class VectorWidthTest {

  @Test
  void bitsDoNotDependOnTheVectorWidth() throws Exception {
    Assumptions.assumeTrue(VectorMath.LANES != 4, "this machine has no wider vectors");
    String[] here = Probe.run().split(" ");
    String[] narrow = runProbe("-XX:MaxVectorSize=16").split(" ");
    assertEquals("4", narrow[0]);
    assertNotEquals(here[0], narrow[0]);
    assertEquals(here[1], narrow[1]);
  }

  private static String runProbe(String flag) throws Exception {
    Process process =
        new ProcessBuilder(
                Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                flag,
                "--add-modules=jdk.incubator.vector",
                "--enable-native-access=ALL-UNNAMED",
                "-cp",
                System.getProperty("java.class.path"),
                Probe.class.getName())
            .redirectError(ProcessBuilder.Redirect.DISCARD)
            .start();
    try {
      String output =
          new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8).strip();
      assertEquals(true, process.waitFor(30, TimeUnit.SECONDS), "the probe hangs");
      assertEquals(0, process.exitValue(), output);
      return output;
    } finally {
      process.destroyForcibly();
    }
  }

  /** Prints the lanes and a digest of one layer's output. */
  static final class Probe {
    private static final Set<WeightRole> NEVER_QUANTISED =
        Set.of(WeightRole.NORM, WeightRole.ROPE_TABLE, WeightRole.ROUTER);

    private static final int T = 37;
    private static final int D = 70;
    private static final int I = 50;
    private static final int E = 5;
    private final SplittableRandom random = new SplittableRandom(3);
    private final Device backend = CpuBackend.create(2);
    private @Nullable Recipe recipe;

    public static void main(String[] args) {
      System.out.println(run());
    }

    static String run() {
      Probe probe = new Probe();
      try {
        int digest =
            31 * probe.layer(new AttentionShape(6, 2, 20, 0), 16, DType.F32)
                + probe.layer(new AttentionShape(5, 5, 20, 7), 5, DType.BF16);
        for (Recipe recipe :
            List.of(new Float8BlockScaling(false), new MXFP8BlockScaling(Rounding.UP))) {
          probe.recipe = recipe;
          digest = 31 * digest + probe.layer(new AttentionShape(6, 2, 20, 0), 5, DType.F8_E4M3);
        }
        return VectorMath.LANES + " " + digest;
      } finally {
        probe.backend.close();
      }
    }

    private int layer(AttentionShape shape, int blockSize, DType cache) {
      Kernels ops = backend.kernels();
      Tensor x = random(Shape.of(T, D));
      Tensor residual = random(Shape.of(T, D));
      ops.add(residual, x, T);
      ops.rmsNorm(x, residual, weight(WeightRole.NORM, Shape.of(D)), 1e-5f, T);
      Tensor qkv = backend.allocate(DType.F32, Shape.of(T, shape.qkvWidth()));
      ops.matmul(qkv, x, weight(WeightRole.LINEAR, Shape.of(shape.qkvWidth(), D)), T);
      KvLayer kv = backend.allocateKv(T, blockSize, shape, cache);
      int[] counting = new int[T];
      Arrays.setAll(counting, i -> i);
      Tensor rope = weight(WeightRole.ROPE_TABLE, Shape.of(T, shape.headDim()));
      ForwardBatch batch = batch(counting);
      ops.ropeAndCacheKv(qkv, kv, rope, shape, batch);
      int width = shape.numHeads() * shape.headDim();
      Tensor heads = backend.allocate(DType.F32, Shape.of(T, width));
      ops.pagedAttention(heads, qkv, kv, shape, batch);
      ops.matmul(x, heads, weight(WeightRole.LINEAR, Shape.of(D, width)), T);
      Tensor logits = backend.allocate(DType.F32, Shape.of(T, E));
      ops.matmul(logits, x, weight(WeightRole.ROUTER, Shape.of(E, D)), T);
      ExpertRouting routing =
          new ExpertRouting(
              backend.allocate(DType.I32, Shape.of(T, 2)),
              backend.allocate(DType.F32, Shape.of(T, 2)));
      ops.routeTopK(routing, logits, T);
      Tensor gateUp = weight(WeightRole.EXPERTS_GATE_UP, Shape.of(E, 2 * I, D));
      Tensor down = weight(WeightRole.EXPERTS_DOWN, Shape.of(E, D, I));
      ops.expertFeedForward(x, x, routing, gateUp, down, T);
      float[] out = new float[T * D];
      backend.read(x, out, out.length);
      return Arrays.hashCode(out);
    }

    private ForwardBatch batch(int[] counting) {
      Tensor ids = ints(Shape.of(T), counting);
      Tensor table = ints(Shape.of(1, T), counting);
      ForwardBatch batch =
          new ForwardBatch(
              ids, ids, ids, ints(Shape.of(2), 0, T), ints(Shape.of(1), T), table, ids);
      batch.resize(T, 1, 0);
      return batch;
    }

    private Tensor ints(Shape shape, int... values) {
      Tensor tensor = backend.allocate(DType.I32, shape);
      backend.write(tensor, values, values.length);
      return tensor;
    }

    private float[] gaussians(Shape shape, double scale) {
      float[] values = new float[Math.toIntExact(shape.numElements())];
      for (int i = 0; i < values.length; i++) {
        values[i] = (float) (scale * random.nextGaussian());
      }
      return values;
    }

    private Tensor random(Shape shape) {
      Tensor tensor = backend.allocate(DType.F32, shape);
      float[] values = gaussians(shape, 1);
      backend.write(tensor, values, values.length);
      return tensor;
    }

    private Tensor weight(WeightRole role, Shape shape) {
      HostTensor source = HostTensor.of("probe", shape, gaussians(shape, 0.1));
      if (recipe == null || NEVER_QUANTISED.contains(role)) {
        return backend.upload(role, source);
      }
      List<Integer> rows = List.of((int) (shape.numElements() / shape.dim(shape.rank() - 1)));
      try (Arena arena = Arena.ofShared()) {
        return backend.upload(
            role, new WeightQuantizer(source, rows, recipe, When.ALWAYS).toTensor(arena));
      }
    }
  }
}
