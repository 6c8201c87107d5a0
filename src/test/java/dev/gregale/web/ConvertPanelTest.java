package dev.gregale.web;

import static org.assertj.core.api.Assertions.assertThat;

import dev.gregale.convert.ConversionJobs;
import dev.gregale.convert.ConversionRoots;
import dev.gregale.convert.LogitsDifference;
import dev.gregale.server.Playground;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.springframework.boot.test.context.SpringBootTest;
import org.springframework.context.annotation.Bean;

/** The playground's panel in a browser: refusal, check, progress, cancel, list. */
@Timeout(90)
@SpringBootTest(
    classes = ConvertPanelTest.Server.class,
    webEnvironment = SpringBootTest.WebEnvironment.RANDOM_PORT,
    properties = "gregale.convert.progress-interval=20ms")
class ConvertPanelTest extends WebTest {
  private static final HeldComparison COMPARISON =
      new HeldComparison(new LogitsDifference(1, 2, false, 0.5, 0.1, 1, 3, 3));
  @TempDir private static Path root;

  /** Its jobs stay in the comparison of logits until they are let go. */
  static final class Server extends WebTestServer {
    @Bean(destroyMethod = "close")
    ConversionJobs conversionJobs() {
      return new ConversionJobs(ConversionRoots.of(List.of(root)), COMPARISON, 1, 2, 3);
    }
  }

  @Test
  void convertsWithProgressAndCancels() throws Exception {
    Path model = Files.createDirectory(root.resolve("model"));
    for (String file : List.of("config.json", "model.safetensors")) {
      Files.copy(Path.of("src/test/resources/golden/random/odd0/hf", file), model.resolve(file));
    }
    Playground.run(port, "convert", line -> COMPARISON.letGo(1));
    assertThat(root.resolve("made/gregale-manifest.json")).exists();
    assertThat(root.resolve("never")).doesNotExist();
  }
}
