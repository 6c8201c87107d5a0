package dev.gregale.config;

import dev.gregale.convert.ConversionJobs;
import dev.gregale.convert.ConversionRoots;
import dev.gregale.web.ConvertProperties;
import java.nio.file.Path;
import org.jspecify.annotations.Nullable;
import org.springframework.beans.factory.ObjectProvider;
import org.springframework.context.ApplicationListener;
import org.springframework.context.annotation.Bean;
import org.springframework.context.annotation.Configuration;
import org.springframework.context.event.ContextClosedEvent;

/** Conversion over HTTP, where directories for it are configured. */
@Configuration(proxyBeanMethods = false)
public class ConvertConfiguration {

  /** Null where no roots are configured. */
  @Bean(destroyMethod = "close")
  @Nullable ConversionJobs conversionJobs(ConvertProperties properties) {
    if (properties.roots().isEmpty()) {
      return null;
    }
    try {
      return new ConversionJobs(
          ConversionRoots.of(properties.roots().stream().map(Path::of).toList()),
          new LogitsComparison(),
          properties.maxRunning(),
          properties.maxQueued(),
          properties.maxRemembered());
    } catch (IllegalArgumentException e) {
      throw new StartupException(ExitCode.CONFIG, "gregale.convert.roots: " + e.getMessage());
    }
  }

  /** Before the web server waits for streams of progress to end. */
  @Bean
  ApplicationListener<ContextClosedEvent> conversionsEndFirst(ObjectProvider<ConversionJobs> jobs) {
    return event -> jobs.ifAvailable(ConversionJobs::close);
  }
}
