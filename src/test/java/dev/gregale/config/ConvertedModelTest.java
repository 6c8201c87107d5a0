package dev.gregale.config;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.gregale.backend.Backend;
import dev.gregale.backend.cpu.CpuBackend;
import dev.gregale.checkpoint.CheckpointLayout;
import dev.gregale.convert.CheckpointConverter;
import dev.gregale.convert.ConversionRequest;
import dev.gregale.convert.LogitsDifference;
import dev.gregale.convert.VerificationException;
import dev.gregale.model.Precision;
import dev.gregale.model.PromptLogits;
import dev.gregale.quantization.Quantization;
import dev.gregale.tensor.DType;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Objects;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** A converted model is the same model. */
class ConvertedModelTest {
  private static final Path DEMO = Path.of("src/main/resources/models/fairytale-moe-7m");
  private static final Path ODD = Path.of("src/test/resources/golden/random/odd0/hf");
  private static final List<int[]> PROMPTS =
      List.of(new int[] {1, 300, 17, 256, 40, 999, 3}, new int[] {1}, new int[] {5, 5, 5, 5});

  @TempDir private Path folder;

  private static @Nullable LogitsDifference convert(Path from, Path to, @Nullable DType dtype)
      throws IOException {
    return new CheckpointConverter(new LogitsComparison())
        .convert(
            new ConversionRequest(
                from, to, null, dtype, Quantization.NONE, false, 2_000_000, 1, false, false),
            progress -> {})
        .difference();
  }

  private static List<float[]> logits(Path directory) {
    try (Backend backend = CpuBackend.create(2)) {
      return PromptLogits.of(backend, directory, Precision.AS_STORED, PROMPTS);
    }
  }

  @Test
  void thereAndBackEveryLogitHasTheSameBits() throws IOException {
    Path te = folder.resolve("te");
    Path hf = folder.resolve("hf");
    LogitsDifference there = Objects.requireNonNull(convert(DEMO, te, null));
    LogitsDifference back = Objects.requireNonNull(convert(te, hf, null));
    assertThat(List.of(there, back))
        .allMatch(LogitsDifference::identical)
        .allMatch(d -> d.maxAbsDifference() == 0 && d.sameArgmax() == 1)
        .allMatch(d -> d.prompts() == 4 && d.tokens() > 60);
    assertThat(there.sourceLoss()).isEqualTo(there.convertedLoss()).isBetween(1.0, 10.0);
    List<float[]> expected = logits(DEMO);
    for (Path directory : List.of(te, hf)) {
      List<float[]> found = logits(directory);
      for (int p = 0; p < PROMPTS.size(); p++) {
        assertThat(found.get(p)).isEqualTo(expected.get(p)); // NaN apart, and there is none
      }
    }
  }

  /** Random ids where there is no tokenizer; fp16 may lose bfloat16's smallest values. */
  @Test
  void aCastIsMeasured() throws IOException {
    LogitsDifference wide = Objects.requireNonNull(convert(ODD, folder.resolve("f32"), DType.F32));
    assertThat(wide.identical()).isTrue();
    assertThat(wide.tokens()).isEqualTo(4 * 32);
    LogitsDifference half = Objects.requireNonNull(convert(DEMO, folder.resolve("f16"), DType.F16));
    assertThat(half.maxAbsDifference()).isLessThan(0.01);
  }

  @Test
  void aModelThatSaysSomethingElseIsNotMade() throws IOException {
    Path damaged = Files.createDirectory(folder.resolve("damaged"));
    try (Stream<Path> files = Files.list(DEMO)) {
      for (Path file : files.toList()) {
        Files.copy(file, damaged.resolve(file.getFileName()));
      }
    }
    byte[] weights = Files.readAllBytes(damaged.resolve("model.safetensors"));
    for (int i = 1; i < 40_000; i += 2) {
      weights[weights.length - i] ^= 1; // exponents of the last tensor
    }
    Files.write(damaged.resolve("model.safetensors"), weights);
    LogitsDifference difference = new LogitsComparison().compare(DEMO, damaged);
    assertThat(difference.identical()).isFalse();
    assertThat(difference.maxAbsDifference()).isPositive();
    assertThat(difference.meanAbsDifference()).isPositive();
    assertThat(difference.convertedLoss()).isNotEqualTo(difference.sourceLoss());

    Path target = folder.resolve("te");
    CheckpointConverter converter = new CheckpointConverter((source, converted) -> difference);
    ConversionRequest request =
        new ConversionRequest(
            DEMO,
            target,
            CheckpointLayout.TRANSFORMER_ENGINE,
            null,
            Quantization.NONE,
            false,
            1 << 30,
            1,
            false,
            false);
    assertThatThrownBy(() -> converter.convert(request, progress -> {}))
        .isInstanceOf(VerificationException.class)
        .hasMessageContaining("the logits differ from the source's by up to");
    assertThat(target).doesNotExist();
  }
}
