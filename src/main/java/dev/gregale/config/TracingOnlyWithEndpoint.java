package dev.gregale.config;

import java.util.function.BooleanSupplier;
import org.jspecify.annotations.Nullable;
import org.springframework.boot.EnvironmentPostProcessor;
import org.springframework.boot.SpringApplication;
import org.springframework.core.env.ConfigurableEnvironment;
import org.springframework.core.env.PropertySource;

/**
 * Traces are made where there is somewhere to send them: all of them, unless configured otherwise.
 * Else tracing is off altogether, so that it costs nothing.
 */
final class TracingOnlyWithEndpoint implements EnvironmentPostProcessor {
  private static final String ENDPOINT = "management.opentelemetry.tracing.export.otlp.endpoint";

  TracingOnlyWithEndpoint() {}

  @Override
  public void postProcessEnvironment(
      ConfigurableEnvironment environment, SpringApplication application) {
    environment
        .getPropertySources()
        .addLast(new Defaults(() -> environment.containsProperty(ENDPOINT)));
  }

  /** Asks for the endpoint when it is itself asked: OTEL_ variables may not have been read yet. */
  private static final class Defaults extends PropertySource<BooleanSupplier> {
    Defaults(BooleanSupplier hasEndpoint) {
      super("tracing", hasEndpoint);
    }

    @Override
    public @Nullable Object getProperty(String name) {
      return switch (name) {
        case "management.tracing.export.enabled", "management.opentelemetry.enabled" ->
            source.getAsBoolean();
        case "management.tracing.sampling.probability" -> 1.0;
        default -> null;
      };
    }
  }
}
