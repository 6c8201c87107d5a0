package dev.gregale.config;

import static org.assertj.core.api.Assertions.assertThat;

import dev.gregale.GregaleApplication;
import dev.gregale.engine.AsyncLlmEngine;
import dev.gregale.engine.EngineState;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.ExtendWith;
import org.springframework.boot.builder.SpringApplicationBuilder;
import org.springframework.boot.test.system.CapturedOutput;
import org.springframework.boot.test.system.OutputCaptureExtension;
import org.springframework.context.ConfigurableApplicationContext;

/** A server that is told to stop before its model is there. If it exited, so would the tests. */
@ExtendWith(OutputCaptureExtension.class)
class StopWhileLoadingTest {

  @Test
  void theLoadingIsBrokenOffQuietly(CapturedOutput output) {
    ConfigurableApplicationContext context =
        new SpringApplicationBuilder(GregaleApplication.class).run("--server.port=0");
    AsyncLlmEngine engine = context.getBean(AsyncLlmEngine.class);
    assertThat(engine.state()).isEqualTo(EngineState.LOADING); // the warm-up alone takes 2 s
    context.close();
    assertThat(engine.state()).isEqualTo(EngineState.DRAINING);
    assertThat(output)
        .contains("the model is not loaded any further")
        .doesNotContain("ERROR", "Exception");
  }
}
