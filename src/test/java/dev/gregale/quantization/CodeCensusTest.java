package dev.gregale.quantization;

import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.gregale.tensor.DType;
import dev.gregale.tensor.HostScales;
import dev.gregale.tensor.HostTensor;
import dev.gregale.tensor.InputScaling.When;
import dev.gregale.tensor.Shape;
import dev.gregale.tensor.WeightScaling;
import java.lang.foreign.MemorySegment;
import java.util.List;
import java.util.Random;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;

class CodeCensusTest {
  private static final int SLABS = 5;
  private static final int SLAB = (3 << 20) + 17; // more than a piece, and no multiple of one

  /** Pieces are counted in parallel, and each slab once. */
  @Test
  void countsEveryCodeOfEverySlab() {
    Random random = new Random(20261123);
    long saturated = 0;
    long notNumbers = 0;
    List<MemorySegment> slabs =
        IntStream.range(0, SLABS).mapToObj(s -> MemorySegment.ofArray(codes(random))).toList();
    for (MemorySegment slab : slabs) {
      for (byte code : (byte[]) slab.heapBase().orElseThrow()) {
        saturated += (code & 0x7f) == 0x7e ? 1 : 0;
        notNumbers += (code & 0x7f) == 0x7f ? 1 : 0;
      }
    }
    WeightScaling scaling = new Float8CurrentScaling().weights(When.NEVER);
    HostScales scales = HostScales.uniform(scaling, List.of(SLABS), SLAB, 1);
    HostTensor codes = new HostTensor("codes", DType.F8_E4M3, Shape.of(SLABS, SLAB), slabs, scales);
    assertEquals(new CodeCensus(saturated, notNumbers), CodeCensus.of(codes));
  }

  private static byte[] codes(Random random) {
    byte[] codes = new byte[SLAB];
    random.nextBytes(codes);
    return codes;
  }
}
