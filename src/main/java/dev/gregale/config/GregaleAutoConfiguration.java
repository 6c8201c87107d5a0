package dev.gregale.config;

import dev.gregale.engine.AsyncLlmEngine;
import dev.gregale.engine.LlmEngine;
import org.springframework.boot.autoconfigure.AutoConfiguration;
import org.springframework.boot.autoconfigure.condition.ConditionalOnMissingBean;
import org.springframework.boot.autoconfigure.condition.ConditionalOnProperty;
import org.springframework.boot.context.properties.EnableConfigurationProperties;
import org.springframework.context.annotation.Bean;
import org.springframework.context.annotation.Import;

/**
 * The model inside of another Spring Boot application: beans {@link LlmEngine}, {@code Tokenizer}
 * and {@code StructuredOutputs} (absent where the checkpoint has none) and {@code ChatRenderer},
 * configured by {@code gregale.model.*} and {@code gregale.engine.*}. {@code gregale.enabled=false}
 * turns it off.
 */
@AutoConfiguration(
    afterName =
        "org.springframework.boot.micrometer.metrics.autoconfigure"
            + ".CompositeMeterRegistryAutoConfiguration")
@ConditionalOnProperty(name = "gregale.enabled", matchIfMissing = true)
@ConditionalOnMissingBean(LlmEngine.class)
@EnableConfigurationProperties({ModelProperties.class, EngineProperties.class})
@Import({EngineConfiguration.class, EngineHealthConfiguration.class})
public class GregaleAutoConfiguration {

  @Bean
  EmbeddedLifecycle engineLifecycle(
      ModelAssembly assembly, AsyncLlmEngine engine, DeferredRunners replicas) {
    return new EmbeddedLifecycle(new ModelStart(assembly, engine, replicas), engine);
  }
}
