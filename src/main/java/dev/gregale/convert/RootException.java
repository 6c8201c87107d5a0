package dev.gregale.convert;

/**
 * A name that must not be, or that leads out of the roots. The message repeats nothing but the
 * caller's own name, shortened.
 */
public final class RootException extends RuntimeException {
  private static final long serialVersionUID = 1;
  private final boolean malformed;

  RootException(boolean malformed, String message) {
    super(message);
    this.malformed = malformed;
  }

  /** Whether the name itself cannot be, wherever it leads. */
  public boolean isMalformed() {
    return malformed;
  }
}
