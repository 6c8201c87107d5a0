package dev.gregale.quantization;

import dev.gregale.tensor.E4M3;
import dev.gregale.tensor.HostTensor;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.stream.LongStream;

/**
 * What a quantised weight's codes are.
 *
 * @param saturated of the largest magnitude: the largest of a block, and what was cut off
 * @param notNumbers NaN
 */
public record CodeCensus(long saturated, long notNumbers) {
  private static final CodeCensus NONE = new CodeCensus(0, 0);
  private static final long PIECE_BYTES = 1 << 20;

  /** Reads all codes once, on all processors. */
  public static CodeCensus of(HostTensor codes) {
    CodeCensus all = NONE;
    for (MemorySegment slab : codes.slabs()) {
      all =
          LongStream.range(0, Math.ceilDiv(slab.byteSize(), PIECE_BYTES))
              .parallel()
              .mapToObj(i -> count(slab, i * PIECE_BYTES))
              .reduce(all, CodeCensus::plus);
    }
    return all;
  }

  private static CodeCensus count(MemorySegment slab, long from) {
    long end = Math.min(slab.byteSize(), from + PIECE_BYTES);
    long saturated = 0;
    long notNumbers = 0;
    for (long i = from; i < end; i++) {
      int magnitude = slab.get(ValueLayout.JAVA_BYTE, i) & 0x7f;
      saturated += magnitude == E4M3.MAX_CODE ? 1 : 0;
      notNumbers += magnitude > E4M3.MAX_CODE ? 1 : 0;
    }
    return new CodeCensus(saturated, notNumbers);
  }

  private CodeCensus plus(CodeCensus other) {
    return new CodeCensus(saturated + other.saturated, notNumbers + other.notNumbers);
  }
}
