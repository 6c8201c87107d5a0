package dev.gregale.convert;

/** A converted model says something else than its source although no value was changed. */
public final class VerificationException extends RuntimeException {
  private static final long serialVersionUID = 1;

  public VerificationException(String message) {
    super(message);
  }
}
