package dev.gregale.web;

import static org.assertj.core.api.Assertions.assertThat;

import dev.gregale.convert.ConversionJobs;
import dev.gregale.convert.ConversionRoots;
import dev.gregale.convert.LogitsDifference;
import dev.gregale.server.Playground;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;
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
  private static final Semaphore PERMITS = new Semaphore(0);
  @TempDir private static Path root;

  /** Its jobs stay in the comparison of logits until they are let go. */
  static final class Server extends WebTestServer {
    @Bean(destroyMethod = "close")
    ConversionJobs conversionJobs() {
      return new ConversionJobs(
          ConversionRoots.of(List.of(root)), (source, converted) -> held(), 1, 2, 3);
    }

    private static LogitsDifference held() throws IOException {
      try {
        if (!PERMITS.tryAcquire(30, TimeUnit.SECONDS)) {
          throw new IOException("the test has not let go");
        }
      } catch (InterruptedException e) {
        throw new IOException(e);
      }
      return new LogitsDifference(1, 2, false, 0.5, 0.1, 1, 3, 3);
    }
  }

  @Test
  void convertsWithProgressAndCancels() throws Exception {
    Path model = Files.createDirectory(root.resolve("model"));
    for (String file : List.of("config.json", "model.safetensors")) {
      Files.copy(Path.of("src/test/resources/golden/random/odd0/hf", file), model.resolve(file));
    }
    Playground.run(port, "convert", line -> PERMITS.release());
    assertThat(root.resolve("made/gregale-manifest.json")).exists();
    assertThat(root.resolve("never")).doesNotExist();
  }
}
