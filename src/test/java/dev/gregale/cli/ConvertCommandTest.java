package dev.gregale.cli;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import picocli.CommandLine;

/** The command within this JVM; as a process of its own in {@link ProgramTest}. */
class ConvertCommandTest {
  private static final Path ODD = Path.of("src/test/resources/golden/random/odd0/hf");
  private static final Path DEMO = Path.of("src/main/resources/models/fairytale-moe-7m");
  private final StringWriter err = new StringWriter();
  @TempDir private Path folder;

  private int convert(Path from, String... arguments) {
    CommandLine line = GregaleCommand.commandLine().setErr(new PrintWriter(err, true));
    String[] all = new String[arguments.length + 3];
    all[0] = "convert";
    all[1] = from.toString();
    all[2] = folder.resolve("te").toString();
    System.arraycopy(arguments, 0, all, 3, arguments.length);
    return line.execute(all);
  }

  @Test
  void usageIs64() {
    assertThat(convert(ODD, "--to=gguf")).isEqualTo(64);
    assertThat(convert(ODD, "--max-shard-size=huge")).isEqualTo(64);
    assertThat(convert(ODD, "--verify=soul")).isEqualTo(64);
    assertThat(convert(ODD, "--quickly")).isEqualTo(64);
    assertThat(convert(ODD, "--quantize=int4")).isEqualTo(64);
    assertThat(convert(ODD, "--quantize=fp8-block", "--dequantize")).isEqualTo(64);
    assertThat(convert(ODD, "--expert-parallel-size=two")).isEqualTo(64);
    assertThat(convert(ODD, "--expert-parallel-size=0")).isEqualTo(64);
    assertThat(convert(ODD, "--expert-parallel-size=2", "--to=hf")).isEqualTo(64);
    assertThat(GregaleCommand.commandLine().setErr(new PrintWriter(err)).execute("convert"))
        .isEqualTo(64);
    assertThat(err.toString()).contains("'huge': expected a size as in 5GB or 500MiB");
    assertThat(folder).isEmptyDirectory();
  }

  /** Codes in TransformerEngine's layout, and values of them again. */
  @Test
  void quantisesAndDequantises() throws IOException {
    assertThat(convert(ODD, "--quantize=mxfp8", "--to=te")).isZero();
    Path codes = Files.move(folder.resolve("te"), folder.resolve("codes"));
    assertThat(convert(codes, "--quantize=fp8")).isEqualTo(65);
    assertThat(err.toString()).contains("dequantise it first").hasLineCount(1);
    assertThat(convert(codes, "--dequantize", "--dtype=bf16")).isZero();
    assertThat(Files.readString(folder.resolve("te/config.json")))
        .contains("MixtralForCausalLM")
        .doesNotContain("quantization_config");
  }

  @Test
  void dealsExpertsOutToRanks() throws IOException {
    assertThat(convert(ODD, "--expert-parallel-size=3")).isEqualTo(65);
    assertThat(err.toString()).contains("4 experts cannot be divided by 3").hasLineCount(1);
    assertThat(convert(ODD, "--expert-parallel-size=2")).isZero();
    Path ranks = Files.move(folder.resolve("te"), folder.resolve("ranks"));
    assertThat(GregaleCommand.commandLine().execute("inspect", ranks.toString())).isZero();
    assertThat(convert(ranks)).isZero();
    Path back = folder.resolve("te/model.safetensors");
    assertThat(Files.mismatch(back, ODD.resolve("model.safetensors"))).isEqualTo(-1);
  }

  @Test
  void aMissingSourceIs66() {
    assertThat(convert(folder.resolve("none"))).isEqualTo(66);
    assertThat(err.toString()).endsWith("none: no such directory\n").hasLineCount(1);
  }

  @Test
  void aDamagedSourceIs65() throws IOException {
    Path source = Files.createDirectory(folder.resolve("source"));
    Files.copy(ODD.resolve("config.json"), source.resolve("config.json"));
    Files.writeString(source.resolve("model.safetensors"), "not one");
    assertThat(convert(source)).isEqualTo(65);
    assertThat(err.toString()).contains("model.safetensors: 7 bytes").hasLineCount(1);
  }

  @Test
  void whatCannotBeMadeIs73() throws IOException {
    Files.createDirectory(folder.resolve("te"));
    assertThat(convert(ODD)).isEqualTo(73);
    Files.delete(folder.resolve("te"));
    assertThat(convert(ODD, "--resume")).isEqualTo(73);
    assertThat(err.toString()).contains("te: exists; remove it", "no interrupted conversion");
  }

  @Test
  void logitsAreCompared() {
    PrintStream standard = System.out;
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    try {
      System.setOut(new PrintStream(out, true, StandardCharsets.UTF_8));
      assertThat(convert(DEMO, "--verify=logits")).isZero();
    } finally {
      System.setOut(standard);
    }
    assertThat(out.toString(StandardCharsets.UTF_8))
        .contains("45 tensors", "logits of 4 prompts", ": identical, bit for bit", "100.00%");
  }
}
