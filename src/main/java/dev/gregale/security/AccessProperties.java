package dev.gregale.security;

import java.util.List;
import org.springframework.boot.context.properties.ConfigurationProperties;
import org.springframework.boot.context.properties.bind.DefaultValue;

/**
 * Who may use the model.
 *
 * @param keys Keys that open the inference routes. Without any, the server listens on loopback only
 *     and lets everyone in.
 * @param allowAnonymous Listen beyond loopback though there are no keys: for a network where
 *     something else decides who gets in. Admin routes then still need an admin key.
 * @param requestsPerMinute Requests per minute of one key, or of one address where there are no
 *     keys; more are answered 429. 0 for no limit.
 * @param maxConcurrentRequests Requests of one key, or address, at the same time; more are answered
 *     429. 0 for no limit.
 * @param corsAllowedOrigins Web origins whose pages may call the API, such as
 *     https://chat.example.com. None by default.
 */
@ConfigurationProperties("gregale.api")
public record AccessProperties(
    @DefaultValue List<KeyProperties> keys,
    @DefaultValue("false") boolean allowAnonymous,
    @DefaultValue("0") int requestsPerMinute,
    @DefaultValue("0") int maxConcurrentRequests,
    @DefaultValue List<String> corsAllowedOrigins) {

  public AccessProperties {
    if (allowAnonymous && !keys.isEmpty()) {
      throw new IllegalArgumentException(
          "gregale.api.allow-anonymous is true, but there are keys in gregale.api.keys:"
              + " remove one of the two");
    }
    requireNotNegative("requests-per-minute", requestsPerMinute);
    requireNotNegative("max-concurrent-requests", maxConcurrentRequests);
    if (corsAllowedOrigins.contains("*") && keys.isEmpty()) {
      throw new IllegalArgumentException(
          "gregale.api.cors-allowed-origins is *, and there are no keys: any web page could then"
              + " use this server through its reader's browser. Name the origins");
    }
  }

  private static void requireNotNegative(String name, int value) {
    if (value < 0) {
      throw new IllegalArgumentException(
          "gregale.api.%s is %d, but must not be negative".formatted(name, value));
    }
  }
}
