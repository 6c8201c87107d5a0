package dev.gregale.config;

import io.micrometer.observation.ObservationPredicate;
import org.springframework.context.annotation.Bean;
import org.springframework.context.annotation.Configuration;
import org.springframework.http.server.reactive.ServerHttpRequest;
import org.springframework.http.server.reactive.observation.ServerRequestObservationContext;

/** What is traced and timed. */
@Configuration(proxyBeanMethods = false)
public class ObservationConfiguration {

  /** Probes and scrapers come every few seconds and tell nothing. */
  @Bean
  ObservationPredicate noProbes() {
    return (name, context) ->
        !(context instanceof ServerRequestObservationContext http
            && http.getCarrier() instanceof ServerHttpRequest request
            && isProbe(request.getPath().value()));
  }

  private static boolean isProbe(String path) {
    return path.startsWith("/actuator/") || path.equals("/health") || path.equals("/metrics");
  }
}
