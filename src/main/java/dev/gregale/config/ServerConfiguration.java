package dev.gregale.config;

import dev.gregale.engine.AsyncLlmEngine;
import org.springframework.context.annotation.Bean;
import org.springframework.context.annotation.Configuration;
import org.springframework.core.env.Environment;

/** What makes the engine a process of its own. */
@Configuration(proxyBeanMethods = false)
public class ServerConfiguration {

  @Bean
  EngineLifecycle engineLifecycle(
      ModelAssembly assembly,
      AsyncLlmEngine engine,
      DeferredRunners replicas,
      Environment environment) {
    return new EngineLifecycle(new ModelStart(assembly, engine, replicas), engine, environment);
  }
}
