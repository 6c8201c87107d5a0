package dev.gregale.model;

import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gregale.backend.AttentionShape;
import dev.gregale.backend.Backend;
import dev.gregale.backend.Device;
import dev.gregale.backend.ExpertRouting;
import dev.gregale.backend.ForwardBatch;
import dev.gregale.backend.KvLayer;
import dev.gregale.backend.Tensor;
import dev.gregale.backend.cpu.CpuBackends;
import java.util.function.IntPredicate;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** The check that GPU runs have to pass: what passes it, and what does not. */
class GreedyContinuationsTest {
  private final Device backend = CpuBackends.fastest();

  @AfterEach
  void close() {
    backend.close();
  }

  private GreedyContinuations run(DelegatingKernels ops) {
    GreedyContinuations found = GreedyContinuations.of(backend, ops, 0);
    System.out.println(found);
    return found;
  }

  private static void assertRefused(GreedyContinuations found) {
    assertThrows(AssertionError.class, found::assertWithinRounding);
  }

  @Test
  void fp32IsNotInDoubt() {
    GreedyContinuations found = GreedyContinuations.of(backend, backend.kernels(), 0);
    assertTrue(found.deficit() <= 0, found::toString);
    assertTrue(found.gap() <= 1e-3, found::toString);
    found.assertWithinRounding();
  }

  /** On ranks sums have another order; the experts are read from the first. */
  @ParameterizedTest
  @ValueSource(ints = {1, 2})
  void ranksAreNotInDoubt(int expertGroups) {
    try (Backend ranks = ParallelModelTest.parallel(2, expertGroups, Golden.DEMO_ATTENTION)) {
      GreedyContinuations found = GreedyContinuations.of(ranks, ranks.kernels(), 0);
      assertTrue(found.deficit() <= 1e-4, found::toString);
      assertTrue(found.gap() <= 1e-3, found::toString);
    }
  }

  /** The bounds are wide enough for a run whose products have inputs in bf16. */
  @Test
  void roundingPasses() {
    GreedyContinuations found = run(new RoundingKernels());
    assertTrue(found.deficit() > 0, "it decided no near-tie otherwise, so nothing is shown");
    found.assertWithinRounding();
  }

  /** One token of one step goes to another expert in one layer. */
  @Test
  void wrongExpert() {
    GreedyContinuations found =
        run(
            new RoutingDefect(call -> call == 20) {
              @Override
              void change(int[] ids, float[] weights) {
                int next = (ids[1] + 1) % 8;
                ids[1] = next == ids[0] ? (next + 1) % 8 : next;
              }
            });
    assertTrue(found.deficit() > GreedyContinuations.MAX_DEFICIT, found::toString);
    assertRefused(found);
  }

  /**
   * The experts of one token in eight get each other's weights, in one layer of six: a single one
   * may have two of about the same weight.
   */
  @Test
  void swappedWeights() {
    GreedyContinuations found =
        run(
            new RoutingDefect(call -> call % 6 == 3) {
              @Override
              void change(int[] ids, float[] weights) {
                float first = weights[0];
                weights[0] = weights[1];
                weights[1] = first;
              }
            });
    assertTrue(found.deficit() > GreedyContinuations.MAX_DEFICIT, found::toString);
    assertRefused(found);
  }

  /** Its experts are as they should be, and its tokens are not. */
  @Test
  void drawnTokens() {
    GreedyContinuations found = GreedyContinuations.of(backend, backend.kernels(), 1);
    assertTrue(found.deficit() <= 0, found::toString);
    assertTrue(found.gap() > GreedyContinuations.MAX_GAP, found::toString);
    assertRefused(found);
  }

  /** Changes what the first token of a step chose in a layer. */
  private abstract class RoutingDefect extends DelegatingKernels {
    private final IntPredicate where;
    private int call;

    /**
     * @param where of all calls, one for each layer of each step
     */
    RoutingDefect(IntPredicate where) {
      super(backend.kernels());
      this.where = where;
    }

    /** Both {@code [K]}. */
    abstract void change(int[] ids, float[] weights);

    @Override
    public void routeTopK(ExpertRouting routing, Tensor routerLogits, int rows) {
      super.routeTopK(routing, routerLogits, rows);
      if (where.test(call++)) {
        int k = routing.expertIds().shape().intDim(1);
        int[] ids = new int[k];
        float[] weights = new float[k];
        backend.read(routing.expertIds(), ids, k);
        backend.read(routing.expertWeights(), weights, k);
        change(ids, weights);
        backend.write(routing.expertIds(), ids, k);
        backend.write(routing.expertWeights(), weights, k);
      }
    }
  }

  /** What products and attention take is rounded to bf16, outside of the experts. */
  private final class RoundingKernels extends DelegatingKernels {

    RoundingKernels() {
      super(backend.kernels());
    }

    private void round(Tensor tensor, int rows) {
      float[] values = new float[rows * tensor.shape().intDim(1)];
      backend.read(tensor, values, values.length);
      for (int i = 0; i < values.length; i++) {
        int bits = Float.floatToRawIntBits(values[i]);
        int even = 0x7fff + (bits >>> 16 & 1);
        values[i] = Float.intBitsToFloat((bits + even) & 0xffff0000);
      }
      backend.write(tensor, values, values.length);
    }

    @Override
    public void rmsNorm(Tensor out, Tensor x, Tensor weight, float eps, int rows) {
      super.rmsNorm(out, x, weight, eps, rows);
      round(out, rows);
    }

    @Override
    public void ropeAndCacheKv(
        Tensor qkv, KvLayer kv, Tensor ropeTable, AttentionShape shape, ForwardBatch batch) {
      round(qkv, batch.numTokens());
      super.ropeAndCacheKv(qkv, kv, ropeTable, shape, batch);
    }

    @Override
    public void pagedAttention(
        Tensor out, Tensor qkv, KvLayer kv, AttentionShape shape, ForwardBatch batch) {
      super.pagedAttention(out, qkv, kv, shape, batch);
      round(out, batch.numTokens());
    }
  }
}
