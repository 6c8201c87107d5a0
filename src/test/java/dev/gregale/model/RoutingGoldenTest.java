package dev.gregale.model;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gregale.backend.Backend;
import dev.gregale.backend.cpu.CpuBackends;
import dev.gregale.checkpoint.SafetensorsFile;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.TestInstance;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** After a forward pass the experts of all layers are where they are fetched from. */
@TestInstance(TestInstance.Lifecycle.PER_CLASS)
class RoutingGoldenTest {

  Stream<Backend> backends() {
    return Stream.concat(Stream.of(CpuBackends.oracle()), CpuBackends.candidates().stream());
  }

  /** Router logits that are nearer to each other may change places. */
  double routerGap() {
    return 1e-5;
  }

  /** At least this share of the choices must be clear enough to be compared. */
  double clearShare() {
    return 1;
  }

  @ParameterizedTest
  @MethodSource("backends")
  void expertsOfEveryLayer(Backend backend) {
    assertExperts(backend, Golden.DEMO_MODEL, "hidden/prompt1.safetensors");
    assertExperts(backend, Golden.DEMO_MODEL, "hidden/prompt2.safetensors");
    assertExperts(backend, Golden.path("random/odd0/hf"), "random/odd0/hidden.safetensors");
    assertExperts(backend, Golden.path("random/odd1/hf"), "random/odd1/hidden.safetensors");
  }

  private void assertExperts(Backend backend, Path directory, String file) {
    ForwardFixture forward = new ForwardFixture(backend, directory, LoadFormat.AUTO, 32, 32);
    int k = forward.config.numExpertsPerTok();
    try (SafetensorsFile golden = Golden.open(file)) {
      int[] prompt = Golden.ints(golden, "input_ids");
      forward.logits(List.of(prompt));
      int[] found = forward.expertIds(prompt.length);
      int compared = 0;
      for (int layer = 0; layer < forward.config.numHiddenLayers(); layer++) {
        int[] expected = Golden.ints(golden, "layer" + layer + ".expert_ids");
        float[] logits = Golden.floats(golden, "layer" + layer + ".router_logits");
        for (int t = 0; t < prompt.length; t++) {
          if (gap(logits, t, forward.config) > routerGap()) {
            int at = (layer * prompt.length + t) * k;
            assertArrayEquals(
                Arrays.copyOfRange(expected, t * k, (t + 1) * k),
                Arrays.copyOfRange(found, at, at + k),
                "%s: layer %d, token %d".formatted(file, layer, t));
            compared++;
          }
        }
      }
      double share = (double) compared / (prompt.length * forward.config.numHiddenLayers());
      assertTrue(share >= clearShare(), file + ": only " + share + " were compared");
    }
  }

  /** The least distance between neighbours among a token's K + 1 largest router logits. */
  private static double gap(float[] logits, int token, MixtralConfig config) {
    int e = config.numLocalExperts();
    float[] sorted = Arrays.copyOfRange(logits, token * e, (token + 1) * e);
    Arrays.sort(sorted);
    double gap = Double.POSITIVE_INFINITY;
    for (int i = e - 1; i > 0 && i >= e - config.numExpertsPerTok(); i--) {
      gap = Math.min(gap, sorted[i] - sorted[i - 1]);
    }
    return gap;
  }
}
