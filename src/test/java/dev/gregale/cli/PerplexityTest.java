package dev.gregale.cli;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gregale.checkpoint.SafetensorsFile;
import dev.gregale.cli.ScoringWindows.Window;
import dev.gregale.model.Golden;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.random.RandomGenerator;
import java.util.random.RandomGeneratorFactory;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/** {@code bench perplexity} against Hugging Face's loss in fp32. */
class PerplexityTest {
  private static final Path HELD_OUT = Golden.path("heldout/heldout.txt");
  @TempDir private Path folder;

  private record Result(int exitCode, String out) {}

  private static Result run(Object... arguments) {
    List<String> words = new ArrayList<>(List.of("bench", "perplexity", "--backend=cpu"));
    Arrays.stream(arguments).map(String::valueOf).forEach(words::add);
    StringWriter out = new StringWriter();
    int exitCode =
        GregaleCommand.commandLine()
            .setOut(new PrintWriter(out))
            .execute(words.toArray(String[]::new));
    return new Result(exitCode, out.toString());
  }

  private static JsonNode report(Object... arguments) {
    Result result = run(arguments);
    assertEquals(0, result.exitCode());
    return JsonMapper.shared().readTree(result.out());
  }

  private static JsonNode golden() throws Exception {
    return JsonMapper.shared().readTree(Files.readString(Golden.path("heldout/loss.json")));
  }

  /** The text's last tokens, less than a window, are not in the golden loss. */
  @Test
  void heldOutTextHasItsGoldenLoss() throws Exception {
    JsonNode report = report(HELD_OUT, "--windows=65", "--json");
    double expected = golden().at("/loss/fp32").asDouble();
    assertEquals(33_215, report.get("tokens").asInt());
    assertEquals(65, report.get("windows").asInt());
    assertEquals(512, report.get("contextTokens").asInt());
    assertEquals(511, report.get("stride").asInt());
    assertEquals(expected, report.get("loss").asDouble(), 1e-4);
    assertEquals(Math.exp(expected), report.get("perplexity").asDouble(), 1e-4 * 43);
    assertEquals("fairytale-moe-7m", report.get("model").asString());
    assertTrue(report.get("backend").asString().startsWith("CPU"));
    assertTrue(report.get("seconds").asDouble() > 0);
  }

  /** The same windows as token ids, in JSON and a line each. */
  @Test
  void tokenIdsHaveTheirGoldenLoss() throws Exception {
    List<String> windows = new ArrayList<>();
    double expected = 0;
    try (SafetensorsFile file = Golden.open("heldout/windows.safetensors")) {
      int[] ids = Golden.ints(file, "windows");
      for (int w = 0; w < 3; w++) {
        windows.add(Arrays.toString(Arrays.copyOfRange(ids, w * 512, (w + 1) * 512)));
        expected += golden().get("fp32_nll_per_window").get(w).asDouble();
      }
    }
    Path json = Files.writeString(folder.resolve("ids.json"), windows.toString());
    JsonNode report = report(json, "--tokens", "--json");
    assertEquals(3 * 511, report.get("tokens").asInt());
    assertEquals(expected / (3 * 511), report.get("loss").asDouble(), 1e-4);
    String lines = String.join("\n", windows).replaceAll("[\\[\\],]", "");
    Path text = Files.writeString(folder.resolve("ids.txt"), lines);
    assertEquals(report.get("loss"), report(text, "--tokens", "--json").get("loss"));
  }

  /** More context makes a text likelier; every token still counts once. */
  @Test
  void strideGivesContext() throws Exception {
    Path part = folder.resolve("part.txt");
    Files.writeString(part, Files.readString(HELD_OUT).substring(0, 4000));
    JsonNode apart = report(part, "--context-tokens=64", "--json");
    JsonNode overlapping = report(part, "--context-tokens=64", "--stride=16", "--json");
    assertEquals(apart.get("tokens"), overlapping.get("tokens"));
    assertTrue(overlapping.get("windows").asInt() > 3 * apart.get("windows").asInt());
    assertTrue(overlapping.get("loss").asDouble() < apart.get("loss").asDouble() - 0.05);
    String people = run(part, "--context-tokens=64").out();
    assertTrue(people.contains("nats per token") && people.contains("perplexity"), people);
  }

  @Test
  void everyTokenIsScoredOnceWithItsContext() {
    long seed = System.nanoTime();
    RandomGenerator random = RandomGeneratorFactory.of("L64X128MixRandom").create(seed);
    for (int i = 0; i < 2000; i++) {
      int[] ids = IntStream.range(100, 100 + random.nextInt(60)).toArray();
      int context = random.nextInt(2, 20);
      int stride = random.nextInt(1, context);
      Integer bos = random.nextBoolean() ? 7 : null;
      String what =
          "seed %d: %d tokens, %d/%d, %s".formatted(seed, ids.length, context, stride, bos);
      assertArrayEquals(
          Arrays.copyOfRange(ids, Math.min(ids.length, bos == null ? 1 : 0), ids.length),
          scored(ids, bos, context, stride, what),
          what);
    }
    assertThrows(IllegalArgumentException.class, () -> new ScoringWindows(new int[9], 1, 4, 4));
  }

  private static int[] scored(
      int[] ids, @Nullable Integer bos, int context, int stride, String what) {
    List<Integer> scored = new ArrayList<>();
    ScoringWindows windows = new ScoringWindows(ids, bos, context, stride);
    while (windows.hasNext()) {
      Window window = windows.next();
      int[] tokens = window.tokenIds();
      assertTrue(tokens.length <= context && window.scoredFrom() >= 1, what);
      assertTrue(window.numScored() >= 1, what);
      assertTrue(bos == null || tokens[0] == bos, what);
      for (int t = window.scoredFrom(); t < tokens.length; t++) {
        assertTrue(tokens[t - 1] == tokens[t] - 1 || (t == 1 && bos != null), what);
        scored.add(tokens[t]);
      }
    }
    return scored.stream().mapToInt(Integer::intValue).toArray();
  }

  @Test
  void whatCannotBeScoredIsAnExitCode() throws Exception {
    assertEquals(66, run(folder.resolve("nowhere.txt")).exitCode());
    assertEquals(65, run(Files.writeString(folder.resolve("empty.txt"), "")).exitCode());
    assertEquals(
        65,
        run(Files.write(folder.resolve("latin.txt"), new byte[] {'a', (byte) 0xe9})).exitCode());
    Path large = Files.write(folder.resolve("large.txt"), new byte[ScoredText.MAX_BYTES + 1]);
    assertEquals(65, run(large).exitCode());
    for (String ids :
        List.of("[1, 99999]", "[1, -1]", "[1, \"x\"]", "[[1], 2]", "1 2 x", "[", "7")) {
      Path file = Files.writeString(folder.resolve("ids.json"), ids);
      assertEquals(65, run(file, "--tokens").exitCode(), ids);
    }
    assertEquals(64, run(HELD_OUT, "--stride=512").exitCode());
    assertEquals(64, run(HELD_OUT, "--context-tokens=1").exitCode());
    assertEquals(64, run(HELD_OUT, "--windows=0").exitCode());
    assertEquals(78, run(HELD_OUT, "--context-tokens=100000").exitCode());
    assertEquals(64, GregaleCommand.commandLine().execute("bench", "--json", "perplexity", "x"));
  }
}
