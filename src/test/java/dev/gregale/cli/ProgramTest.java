package dev.gregale.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeFalse;

import dev.gregale.GregaleApplication;
import dev.gregale.security.ApiKeys;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/** The program as a process of its own, started without any JVM flag. */
class ProgramTest {
  private static final Path ODD = Path.of("src/test/resources/golden/random/odd0/hf");
  @TempDir private Path folder;

  /**
   * @param out standard output
   * @param err standard error, less what the JVM itself says
   */
  private record Result(int exitCode, String out, List<String> err) {}

  private Result run(String... arguments) throws IOException, InterruptedException {
    return run(new ArrayList<>(), arguments);
  }

  /**
   * @param kibibytes that a file may have
   */
  private Result runLimited(int kibibytes, String... arguments)
      throws IOException, InterruptedException {
    String limit = "ulimit -f " + kibibytes + " && exec \"$@\"";
    return run(new ArrayList<>(List.of("bash", "-c", limit, "bash")), arguments);
  }

  private Result run(List<String> command, String... arguments)
      throws IOException, InterruptedException {
    command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
    command.addAll(List.of("-Xmx256m", "-cp", System.getProperty("java.class.path")));
    command.add(GregaleApplication.class.getName());
    command.addAll(List.of(arguments));
    Path out = folder.resolve("out");
    Path err = folder.resolve("err");
    Process process =
        new ProcessBuilder(command)
            .redirectOutput(out.toFile())
            .redirectError(err.toFile())
            .start();
    assertTrue(process.waitFor(120, TimeUnit.SECONDS), "still running");
    return new Result(
        process.exitValue(),
        Files.readString(out, StandardCharsets.UTF_8),
        Files.readAllLines(err).stream()
            .filter(line -> !line.startsWith("WARNING") && !line.isBlank())
            .toList());
  }

  /** The JVM flags are added by themselves, the exit code comes through, JSON is on stdout. */
  @Test
  void benchMeasuresARandomModelOfABareConfig() throws Exception {
    Path model = Files.createDirectory(folder.resolve("model"));
    Files.copy(ODD.resolve("config.json"), model.resolve("config.json"));
    Result result =
        run(
            "bench",
            "--model",
            model.toString(),
            "--load-format=dummy",
            "--prompt-tokens=64,16",
            "--sequences=1,4",
            "--output-tokens=8",
            "--repetitions=1",
            "--json");
    assertEquals(0, result.exitCode(), () -> result.err().toString());
    JsonNode report = JsonMapper.shared().readTree(result.out());
    assertTrue(report.get("backend").asString().contains("vectors of"), result.out());
    assertEquals(2, report.get("prefill").size());
    assertEquals(4, report.at("/decode/1/sequences").asInt());
    assertTrue(report.at("/decode/1/tokensPerSecond").asDouble() > 0);
    for (String phase : List.of("prefill", "decode")) {
      JsonNode ops = report.get(phase).get(0).get("ops");
      List<String> names = ops.valueStream().map(op -> op.get("name").asString()).toList();
      assertTrue(names.contains("expertFeedForward"), result.out());
      double shares = ops.valueStream().mapToDouble(op -> op.get("share").asDouble()).sum();
      assertEquals(1, shares, 1e-9);
    }
  }

  @Test
  void inspectTellsWhatIsInADirectory() throws Exception {
    Result result = run("inspect", "--json", ODD.toString());
    assertEquals(0, result.exitCode());
    JsonNode contents = JsonMapper.shared().readTree(result.out());
    assertEquals("HUGGING_FACE", contents.get("layout").asString());
    assertEquals(4, contents.at("/config/numLocalExperts").asInt());
  }

  @Test
  void convertsAndVerifies() throws Exception {
    String te = folder.resolve("te").toString();
    Result result = run("convert", ODD.toString(), te, "--max-shard-size=200KB", "--json");
    assertEquals(0, result.exitCode(), () -> result.err().toString());
    assertEquals(17, JsonMapper.shared().readTree(result.out()).get("tensors").asInt());
    Result again = run("convert", ODD.toString(), te);
    assertEquals(73, again.exitCode());
    assertTrue(again.err().getFirst().contains("te: exists; remove it"), again.err().toString());
    Result inspected = run("inspect", "--json", te);
    assertEquals(0, inspected.exitCode(), () -> inspected.err().toString());
    JsonNode contents = JsonMapper.shared().readTree(inspected.out());
    assertEquals("TRANSFORMER_ENGINE", contents.get("layout").asString());
    assertEquals(17 + 3, contents.get("verified").asInt()); // config, generation config, index
    Files.writeString(Path.of(te, "generation_config.json"), "{}");
    assertEquals(65, run("inspect", te).exitCode());
  }

  /** The system refuses to let the file grow: an error of writing like any other. */
  @Test
  void aFailedWriteHasItsExitCode() throws Exception {
    Path te = folder.resolve("te");
    Result result = runLimited(500, "convert", ODD.toString(), te.toString());
    assertEquals(74, result.exitCode(), () -> result.err().toString());
    assertEquals(1, result.err().size(), () -> result.err().toString());
    assertTrue(result.err().getFirst().startsWith("gregale: " + te + ": "), result.err()::toString);
    assertTrue(result.err().getFirst().endsWith("goes on where this one stopped"));
    assertFalse(Files.exists(te));
    assertEquals(0, run("convert", ODD.toString(), te.toString()).exitCode());
  }

  @Test
  void keygenPrintsAKeyAndItsHash() throws Exception {
    Result result = run("keygen", "ops", "--admin");
    assertEquals(0, result.exitCode(), () -> result.err().toString());
    List<String> lines = result.out().lines().toList();
    assertTrue(lines.getFirst().matches("gk-[A-Za-z0-9_-]{43}"), result.out());
    String hash = HexFormat.of().formatHex(ApiKeys.sha256(lines.getFirst()));
    assertEquals(
        List.of("--gregale.admin.keys[0].name=ops", "--gregale.admin.keys[0].sha256=" + hash),
        lines.subList(1, 3));
    assertEquals(64, run("keygen", "a name").exitCode());
  }

  @Test
  void aMissingModelIsOneLine() throws Exception {
    Result result = run("--gregale.model.path=" + folder.resolve("nowhere"), "--server.port=0");
    assertEquals(66, result.exitCode(), () -> result.err().toString());
    assertEquals(1, result.err().size(), () -> result.err().toString());
    assertTrue(result.err().getFirst().startsWith("gregale: gregale.model.path: there is no dir"));
  }

  @Test
  void aDamagedModelIsOneLine() throws Exception {
    Path model = Files.createDirectory(folder.resolve("damaged"));
    Files.copy(ODD.resolve("config.json"), model.resolve("config.json"));
    byte[] weights = Files.readAllBytes(ODD.resolve("model.safetensors"));
    weights[3] = 1; // the header is now 16 MiB longer than the file
    Files.write(model.resolve("model.safetensors"), weights);
    Result result = run("serve", "--gregale.model.path=" + model, "--server.port=0");
    assertEquals(65, result.exitCode(), () -> result.err().toString());
    assertEquals(1, result.err().size(), () -> result.err().toString());
    assertTrue(result.err().getFirst().contains("model.safetensors"));
    assertEquals(65, run("inspect", model.toString()).exitCode());
  }

  @Test
  void aGpuThatIsNotThereIsOneLine() throws Exception {
    assumeFalse(Files.exists(Path.of("/proc/driver/nvidia")), "this machine has an NVIDIA driver");
    Result result = run("--gregale.engine.backend=cuda", "--server.port=0");
    assertEquals(69, result.exitCode(), () -> result.err().toString());
    assertEquals(1, result.err().size(), () -> result.err().toString());
    assertTrue(result.err().getFirst().startsWith("gregale: gregale.engine.backend=cuda: libcuda"));
    assertEquals(69, run("bench", "--backend=cuda").exitCode());
    Result share = run("--gregale.engine.gpu-memory-utilization=90", "--server.port=0");
    assertEquals(78, share.exitCode(), () -> share.err().toString());
    assertTrue(share.err().getFirst().contains("not above 0 and up to 1"));
  }

  @Test
  void wrongWordsAndPropertiesHaveTheirExitCodes() throws Exception {
    assertEquals(64, run("bnech").exitCode());
    Result property = run("--gregale.engine.max-num-seqs=many", "--server.port=0");
    assertEquals(78, property.exitCode(), () -> property.err().toString());
    assertEquals(1, property.err().size(), () -> property.err().toString());
  }
}
