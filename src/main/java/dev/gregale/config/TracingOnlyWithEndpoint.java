package dev.gregale.config;

import java.util.Map;
import org.springframework.boot.EnvironmentPostProcessor;
import org.springframework.boot.SpringApplication;
import org.springframework.core.Ordered;
import org.springframework.core.env.ConfigurableEnvironment;
import org.springframework.core.env.MapPropertySource;

/**
 * Traces are made where there is somewhere to send them: all of them, unless configured otherwise.
 * Else tracing is off altogether, so that it costs nothing.
 */
final class TracingOnlyWithEndpoint implements EnvironmentPostProcessor, Ordered {
  private static final String ENDPOINT = "management.opentelemetry.tracing.export.otlp.endpoint";

  TracingOnlyWithEndpoint() {}

  @Override
  public void postProcessEnvironment(
      ConfigurableEnvironment environment, SpringApplication application) {
    Map<String, Object> defaults =
        environment.containsProperty(ENDPOINT)
            ? Map.of("management.tracing.sampling.probability", 1.0)
            : Map.of(
                "management.tracing.export.enabled",
                false,
                "management.opentelemetry.enabled",
                false);
    environment.getPropertySources().addLast(new MapPropertySource("tracing", defaults));
  }

  /** After configuration files and OTEL_ variables are read. */
  @Override
  public int getOrder() {
    return Ordered.LOWEST_PRECEDENCE;
  }
}
