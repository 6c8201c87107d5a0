package dev.gregale.web;

import io.micrometer.prometheusmetrics.PrometheusMeterRegistry;
import io.swagger.v3.oas.annotations.Hidden;
import org.springframework.beans.factory.ObjectProvider;
import org.springframework.http.HttpStatus;
import org.springframework.web.bind.annotation.GetMapping;
import org.springframework.web.bind.annotation.RestController;

/** Metrics where vLLM has them, so that scrapers made for it find them. */
@RestController
@Hidden
final class MetricsController {
  private final ObjectProvider<PrometheusMeterRegistry> registry;

  MetricsController(ObjectProvider<PrometheusMeterRegistry> registry) {
    this.registry = registry;
  }

  /** The same as {@code /actuator/prometheus}. */
  @GetMapping(path = "/metrics", produces = "text/plain; version=0.0.4; charset=utf-8")
  String metrics() {
    PrometheusMeterRegistry prometheus = registry.getIfAvailable();
    if (prometheus == null) {
      throw ApiException.refused(
          HttpStatus.NOT_FOUND, "The export of Prometheus metrics is turned off", "unknown_url");
    }
    return prometheus.scrape();
  }
}
