package dev.gregale.config;

import dev.gregale.engine.AsyncLlmEngine;
import dev.gregale.engine.EngineState;
import org.springframework.boot.autoconfigure.condition.ConditionalOnClass;
import org.springframework.boot.health.contributor.Health;
import org.springframework.boot.health.contributor.HealthIndicator;
import org.springframework.context.annotation.Bean;
import org.springframework.context.annotation.Configuration;

/** What probes are told of the engine. */
@Configuration(proxyBeanMethods = false)
@ConditionalOnClass(HealthIndicator.class)
public class EngineHealthConfiguration {

  /** Part of readiness: up once the model is loaded, out of service while draining. */
  @Bean
  HealthIndicator engineHealthIndicator(AsyncLlmEngine engine) {
    return () ->
        (switch (engine.state()) {
              case SERVING -> Health.up();
              case LOADING, DRAINING -> Health.outOfService();
              case FAILED -> Health.down();
            })
            .withDetail("state", engine.state())
            .build();
  }

  /** Part of liveness: down once the engine has failed for good, so that a supervisor restarts. */
  @Bean
  HealthIndicator engineAliveHealthIndicator(AsyncLlmEngine engine) {
    return () -> (engine.state() == EngineState.FAILED ? Health.down() : Health.up()).build();
  }
}
