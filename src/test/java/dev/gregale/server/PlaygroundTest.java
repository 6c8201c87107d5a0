package dev.gregale.server;

import static org.assertj.core.api.Assertions.assertThat;

import java.time.Duration;
import org.awaitility.Awaitility;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** The playground as a reader has it, with the bundled model. */
@Timeout(90)
class PlaygroundTest extends RunningServer {

  @ParameterizedTest
  @ValueSource(strings = {"complete", "chat", "keyboard", "conversionOff"})
  void does(String scenario) throws Exception {
    Playground.run(port, scenario, line -> {});
  }

  @Test
  void stopEndsTheGenerationOnTheServerToo() throws Exception {
    Playground.run(port, "stop", line -> {});
    Awaitility.await()
        .atMost(Duration.ofSeconds(10))
        .untilAsserted(() -> assertThat(gauge("gregale.requests.running")).isZero());
  }
}
