package dev.gregale.web;

import dev.gregale.config.OpenApiConfiguration;
import dev.gregale.config.SecurityConfiguration;
import dev.gregale.config.SecurityHeadersConfiguration;
import dev.gregale.config.WebServerConfiguration;
import dev.gregale.structured.StructuredOutputs;
import dev.gregale.tokenizer.ChatRenderer;
import dev.gregale.tokenizer.ChatTemplate;
import dev.gregale.tokenizer.Tokenizer;
import dev.gregale.tokenizer.TokenizerConfig;
import java.time.Duration;
import org.springframework.boot.autoconfigure.EnableAutoConfiguration;
import org.springframework.boot.context.properties.ConfigurationPropertiesScan;
import org.springframework.boot.health.contributor.Health;
import org.springframework.boot.health.contributor.HealthIndicator;
import org.springframework.context.annotation.Bean;
import org.springframework.context.annotation.ComponentScan;
import org.springframework.context.annotation.Import;

/** The web side alone, on a real server, before a stub engine. No component scan finds it. */
@EnableAutoConfiguration
@ConfigurationPropertiesScan({"dev.gregale.web", "dev.gregale.security"})
@ComponentScan
@Import({
  OpenApiConfiguration.class,
  SecurityConfiguration.class,
  SecurityHeadersConfiguration.class,
  WebServerConfiguration.class
})
class WebTestServer {
  private static final ChatTemplate.Limits LIMITS =
      new ChatTemplate.Limits(1000, 1000, Duration.ofSeconds(5));
  private static final String TEMPLATE =
      "{% for m in messages %}"
          + "{% if loop.first and m['role'] == 'assistant' %}"
          + "{{ raise_exception('The assistant cannot begin') }}{% endif %}"
          + "{{ m['content'] + ' ' }}{% endfor %}"
          + "{% if add_generation_prompt %}upon{% endif %}";

  @Bean
  StubEngine engine() {
    return new StubEngine();
  }

  /** A real template, but a small one. */
  @Bean
  ChatRenderer chatRenderer() {
    return new ChatTemplate(TEMPLATE, new TokenizerConfig("<s>", "</s>", TEMPLATE), LIMITS);
  }

  /** Named in the readiness group of application.yaml. */
  @Bean
  HealthIndicator engineHealthIndicator() {
    return () -> Health.up().build();
  }

  /** Named in the liveness group. */
  @Bean
  HealthIndicator engineAliveHealthIndicator() {
    return () -> Health.up().build();
  }

  /** The same with a tokenizer. */
  static final class WithTokenizer extends WebTestServer {
    @Bean
    Tokenizer tokenizer() {
      return new StubTokenizer();
    }

    @Bean
    StructuredOutputs structuredOutputs(Tokenizer tokenizer) {
      return new StructuredOutputs(
          tokenizer, StubEngine.INFO.vocabSize(), new int[] {StubTokenizer.EOS});
    }
  }
}
