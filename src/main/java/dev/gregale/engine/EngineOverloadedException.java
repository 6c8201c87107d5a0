package dev.gregale.engine;

/** The queue is full; trying again later may succeed. */
public final class EngineOverloadedException extends RuntimeException {
  private static final long serialVersionUID = 1;
  private final int retryAfterSeconds;

  public EngineOverloadedException(String message, int retryAfterSeconds) {
    super(message, null, false, false); // an answer, not a defect: no stack to fill in
    this.retryAfterSeconds = retryAfterSeconds;
  }

  /** When it is worth trying again. */
  public int retryAfterSeconds() {
    return retryAfterSeconds;
  }
}
