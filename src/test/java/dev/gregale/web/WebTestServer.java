package dev.gregale.web;

import dev.gregale.config.OpenApiConfiguration;
import dev.gregale.config.WebServerConfiguration;
import dev.gregale.tokenizer.Tokenizer;
import org.springframework.boot.autoconfigure.EnableAutoConfiguration;
import org.springframework.boot.context.properties.ConfigurationPropertiesScan;
import org.springframework.boot.health.contributor.Health;
import org.springframework.boot.health.contributor.HealthIndicator;
import org.springframework.context.annotation.Bean;
import org.springframework.context.annotation.ComponentScan;
import org.springframework.context.annotation.Import;

/** The web side alone, on a real server, before a stub engine. No component scan finds it. */
@EnableAutoConfiguration
@ConfigurationPropertiesScan
@ComponentScan
@Import({OpenApiConfiguration.class, WebServerConfiguration.class})
class WebTestServer {

  @Bean
  StubEngine engine() {
    return new StubEngine();
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
  }
}
