package dev.gregale.security;

import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;

/**
 * A key as it is configured: never the key itself.
 *
 * @param name Whose key it is, for logs, metrics and limits.
 * @param sha256 SHA-256 of the key in hexadecimal, as {@code gregale keygen} prints it. Fit for
 *     random keys, which cannot be guessed; a password would need a slow hash.
 * @param requestsPerMinute Requests per minute of this key. Default: gregale.api's; 0 for no limit.
 * @param maxConcurrentRequests Requests of this key at the same time. Default: gregale.api's; 0 for
 *     no limit.
 */
public record KeyProperties(
    String name,
    String sha256,
    @Nullable Integer requestsPerMinute,
    @Nullable Integer maxConcurrentRequests) {
  private static final Pattern NAME = Pattern.compile("[A-Za-z0-9._-]{1,64}");
  private static final Pattern SHA256 = Pattern.compile("[0-9a-fA-F]{64}");

  @SuppressWarnings("ConstantValue") // what is absent from the configuration is null here
  public KeyProperties {
    if (name == null || !NAME.matcher(name).matches()) {
      throw new IllegalArgumentException(
          "the name of a key must be 1 to 64 letters, digits, '.', '_' or '-'");
    }
    if (sha256 == null || !SHA256.matcher(sha256).matches()) {
      throw new IllegalArgumentException(
          "sha256 of key '%s' must be 64 hexadecimal digits; `gregale keygen` makes a key with it"
              .formatted(name));
    }
    requireNotNegative(requestsPerMinute, "requests-per-minute", name);
    requireNotNegative(maxConcurrentRequests, "max-concurrent-requests", name);
  }

  private static void requireNotNegative(@Nullable Integer value, String property, String name) {
    if (value != null && value < 0) {
      throw new IllegalArgumentException(
          "%s of key '%s' is %d, but must not be negative".formatted(property, name, value));
    }
  }
}
