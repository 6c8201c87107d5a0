package dev.gregale.security;

/** A caller is over one of its limits. */
public final class RateLimitException extends RuntimeException {
  private static final long serialVersionUID = 1;
  private final String code;
  private final int retryAfterSeconds;

  RateLimitException(String code, String message, int retryAfterSeconds) {
    super(message, null, false, false);
    this.code = code;
    this.retryAfterSeconds = retryAfterSeconds;
  }

  /** Which limit, for programs. */
  public String code() {
    return code;
  }

  public int retryAfterSeconds() {
    return retryAfterSeconds;
  }
}
