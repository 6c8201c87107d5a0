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

  Stream<? extends Backend> backends() {
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

  /** Of a prompt, and then of its last tokens as they come one by one. */
  private void assertExperts(Backend backend, Path directory, String file) {
    ForwardFixture forward = new ForwardFixture(backend, directory, LoadFormat.AUTO, 32, 32);
    try (SafetensorsFile golden = Golden.open(file)) {
      int[] prompt = Golden.ints(golden, "input_ids");
      int decodedFrom = prompt.length - 3;
      int compared = 0;
      for (int from = 0; from < prompt.length; ) {
        int to = from == 0 ? decodedFrom : from + 1;
        forward.logits(List.of(Arrays.copyOfRange(prompt, from, to)), new int[] {from});
        compared += assertExperts(golden, forward, from, to);
        from = to;
      }
      double share = (double) compared / (prompt.length * forward.config.numHiddenLayers());
      assertTrue(share >= clearShare(), file + ": only " + share + " were compared");
    }
  }

  /** Returns how many choices of the tokens just computed were clear, and right. */
  private int assertExperts(SafetensorsFile golden, ForwardFixture forward, int from, int to) {
    int k = forward.config.numExpertsPerTok();
    int[] found = forward.expertIds(to - from);
    int compared = 0;
    for (int layer = 0; layer < forward.config.numHiddenLayers(); layer++) {
      int[] expected = Golden.ints(golden, "layer" + layer + ".expert_ids");
      float[] logits = Golden.floats(golden, "layer" + layer + ".router_logits");
      for (int t = from; t < to; t++) {
        if (RouterLogits.gap(logits, t, forward.config) > routerGap()) {
          int at = (layer * (to - from) + t - from) * k;
          assertArrayEquals(
              Arrays.copyOfRange(expected, t * k, (t + 1) * k),
              Arrays.copyOfRange(found, at, at + k),
              "%s: layer %d, token %d".formatted(golden.path(), layer, t));
          compared++;
        }
      }
    }
    return compared;
  }
}
