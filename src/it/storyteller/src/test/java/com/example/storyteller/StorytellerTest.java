package com.example.storyteller;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.gregale.engine.EngineUnavailableException;
import dev.gregale.engine.LlmEngine;
import java.util.List;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.junit.jupiter.api.Test;
import org.springframework.beans.factory.annotation.Autowired;
import org.springframework.boot.SpringApplication;
import org.springframework.boot.autoconfigure.EnableAutoConfiguration;
import org.springframework.boot.test.context.SpringBootTest;
import org.springframework.context.ApplicationContext;

/** With gregale.jar and what it brings alone on the class path. */
@SpringBootTest
class StorytellerTest {
  private static final String BEGINNING = "Once upon a time";

  /** Hugging Face's own greedy continuation. */
  private static final String STORY = " there was a man who had a son who went to seek his fortune.";

  @Autowired private Storyteller storyteller;
  @Autowired private ApplicationContext context;

  @Test
  void tellsAsTheReferenceDoes() {
    assertThat(storyteller.tell(BEGINNING)).startsWith(STORY);
  }

  @Test
  void streamsTheSame() {
    List<String> pieces = storyteller.stream(BEGINNING).collectList().block();
    assertThat(pieces).hasSizeGreaterThan(1);
    assertThat(String.join("", pieces)).isEqualTo(storyteller.tell(BEGINNING));
  }

  @Test
  void tellsManyAtOnceOnVirtualThreads() throws Exception {
    try (ExecutorService threads = Executors.newVirtualThreadPerTaskExecutor()) {
      Future<String> one = threads.submit(() -> storyteller.tell(BEGINNING));
      Future<String> other = threads.submit(() -> storyteller.tell("The king"));
      assertThat(one.get()).startsWith(STORY);
      assertThat(other.get()).isNotEqualTo(one.get()).isNotBlank();
    }
  }

  @Test
  void bringsNoServer() {
    assertThat(context.getEnvironment().getProperty("server.port")).isNull();
    assertThat(getClass().getResource("/static/index.html")).isNull();
    assertThatThrownBy(() -> Class.forName("org.springframework.web.server.WebFilter"))
        .isInstanceOf(ClassNotFoundException.class);
  }

  @Test
  void endsWithItsApplicationAndTakesItsProperties() {
    LlmEngine engine;
    try (var other =
        SpringApplication.run(StorytellerApplication.class, "--gregale.model.name=tales")) {
      engine = other.getBean(LlmEngine.class);
      assertThat(engine.info().modelName()).isEqualTo("tales");
    }
    assertThatThrownBy(engine::requireRoom).isInstanceOf(EngineUnavailableException.class);
  }

  @Test
  void failsToStartWithoutItsModel() {
    assertThatThrownBy(
            () ->
                SpringApplication.run(
                    StorytellerApplication.class, "--gregale.model.path=/there/is/none"))
        .rootCause()
        .hasMessageContaining("gregale.model.path: there is no directory /there/is/none");
  }

  @Test
  void canBeTurnedOff() {
    try (var other = SpringApplication.run(Empty.class, "--gregale.enabled=false")) {
      assertThat(other.getBeanProvider(LlmEngine.class).getIfAvailable()).isNull();
    }
  }

  @EnableAutoConfiguration
  static class Empty {}
}
