package dev.gregale.model;

import dev.gregale.backend.Backend;
import dev.gregale.backend.cpu.CpuBackends;
import dev.gregale.backend.cuda.CudaBackends;
import java.util.HashMap;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.Tag;

/** The same on the GPU, whose activations are bf16. */
@Tag("gpu")
class CudaQuantizedAccuracyTest extends QuantizedAccuracyTest {
  /** By how much Hugging Face's bf16 is off fp32 on this text. */
  private static final double MOST_NOISE = 7e-4;

  private final Map<Precision, float[]> inFp32 = new HashMap<>();

  @Override
  protected Stream<? extends Backend> backends() {
    return CudaBackends.both();
  }

  @Override
  protected Stream<? extends Backend> exactBackends() {
    return Stream.of(CudaBackends.deterministic());
  }

  /**
   * Two standard errors of the mean difference to the same weights under fp32 activations, token by
   * token.
   */
  @Override
  protected double roundingNoise(Precision precision, float[] losses) {
    float[] exact = inFp32.computeIfAbsent(precision, CudaQuantizedAccuracyTest::lossesInFp32);
    double sum = 0;
    double squares = 0;
    for (int i = 0; i < losses.length; i++) {
      double difference = (double) losses[i] - exact[i];
      sum += difference;
      squares += difference * difference;
    }
    double variance = (squares - sum * sum / losses.length) / (losses.length - 1);
    return Math.min(MOST_NOISE, 2 * Math.sqrt(variance / losses.length));
  }

  private static float[] lossesInFp32(Precision precision) {
    try (Backend cpu = CpuBackends.fastest()) {
      return score(cpu, precision, cpu.kvCacheDType(), ALL_WINDOWS).losses();
    }
  }
}
