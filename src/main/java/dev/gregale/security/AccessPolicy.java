package dev.gregale.security;

import java.util.List;

/**
 * Which routes there are, and which of them need no key. What is named nowhere is open to nobody as
 * soon as there are keys.
 *
 * @param inferenceOpen the model's routes need no key
 * @param adminOpen nothing needs a key
 * @param metricsOpen metrics need no key
 */
public record AccessPolicy(boolean inferenceOpen, boolean adminOpen, boolean metricsOpen) {

  /** Pages, documentation and probes: open to everyone, always. */
  public static final List<String> PUBLIC =
      List.of(
          "/",
          "/index.html",
          "/favicon.ico",
          "/favicon.svg",
          "/playground/**",
          "/swagger-ui.html",
          "/swagger-ui/**",
          "/webjars/**",
          "/v3/api-docs",
          "/v3/api-docs/**",
          "/v3/api-docs.yaml",
          "/health",
          "/actuator/health",
          "/actuator/health/**");

  /** Metrics for Prometheus. */
  public static final List<String> METRICS = List.of("/metrics", "/actuator/prometheus");

  /** What uses the model. */
  public static final List<String> INFERENCE = List.of("/v1", "/v1/**", "/tokenize", "/detokenize");

  /** What runs the server. */
  public static final List<String> ADMIN =
      List.of("/admin", "/admin/**", "/actuator", "/actuator/**");

  /** The policy that the configuration amounts to. */
  public static AccessPolicy of(AccessProperties access, AdminProperties admin) {
    boolean inferenceOpen = access.keys().isEmpty();
    boolean adminOpen = inferenceOpen && !access.allowAnonymous() && admin.keys().isEmpty();
    return new AccessPolicy(inferenceOpen, adminOpen, adminOpen || admin.publicMetrics());
  }
}
