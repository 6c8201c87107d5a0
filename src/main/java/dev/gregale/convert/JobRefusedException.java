package dev.gregale.convert;

/** A job that is not begun as things are. The message says what to do. */
public final class JobRefusedException extends RuntimeException {
  private static final long serialVersionUID = 1;
  private final Reason reason;

  /** Why. */
  public enum Reason {
    /** As many jobs wait as may. */
    FULL,
    /** Another job makes the same target. */
    TARGET_BUSY,
    /** The idempotency key was given with another order. */
    KEY_REUSED
  }

  JobRefusedException(Reason reason, String message) {
    super(message);
    this.reason = reason;
  }

  public Reason reason() {
    return reason;
  }
}
