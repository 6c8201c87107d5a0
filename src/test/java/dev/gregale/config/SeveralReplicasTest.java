package dev.gregale.config;

import static org.assertj.core.api.Assertions.assertThat;
import static org.awaitility.Awaitility.await;

import dev.gregale.GregaleApplication;
import dev.gregale.engine.AsyncLlmEngine;
import dev.gregale.engine.EngineState;
import dev.gregale.engine.GenerationRequest;
import dev.gregale.engine.GenerationResult;
import dev.gregale.sampling.SamplingParams;
import io.micrometer.core.instrument.MeterRegistry;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.springframework.boot.builder.SpringApplicationBuilder;
import org.springframework.context.ConfigurableApplicationContext;

/** The server with two replicas of two ranks each, as its properties make them. */
class SeveralReplicasTest {
  private static final int REQUESTS = 6;

  @Test
  void allAnswerAlike() {
    try (ConfigurableApplicationContext context =
        new SpringApplicationBuilder(GregaleApplication.class)
            .run(
                "--server.port=0",
                "--gregale.engine.backend=cpu",
                "--gregale.engine.data-parallel-size=2",
                "--gregale.engine.tensor-parallel-size=2",
                "--gregale.engine.expert-parallel-size=2",
                "--gregale.engine.max-num-seqs=2",
                "--gregale.engine.num-blocks=100")) {
      AsyncLlmEngine engine = context.getBean(AsyncLlmEngine.class);
      await().atMost(Duration.ofSeconds(60)).until(() -> engine.state() == EngineState.SERVING);
      GenerationRequest request =
          new GenerationRequest(
              "test",
              List.of(new int[] {1, 2579, 591, 261, 565}),
              1,
              SamplingParams.builder().temperature(0).maxTokens(12).build(),
              null,
              0);
      List<CompletableFuture<GenerationResult>> answers =
          IntStream.range(0, REQUESTS)
              .mapToObj(
                  i ->
                      CompletableFuture.supplyAsync(
                          () -> engine.generateBlocking(request).getFirst()))
              .toList();
      List<GenerationResult> results = answers.stream().map(CompletableFuture::join).toList();
      assertThat(results).allMatch(result -> result.text().equals(results.getFirst().text()));
      assertThat(results.getFirst().text()).isNotBlank();
      MeterRegistry registry = context.getBean(MeterRegistry.class);
      assertThat(registry.get("gregale.kv.blocks.total").gauge().value()).isEqualTo(200);
      assertThat(registry.get("gregale.tokens.generation").counter().count())
          .isEqualTo(12 * REQUESTS);
    }
  }
}
