package dev.gregale.convert;

/**
 * A target that cannot be made as things are: it exists, another conversion is at it, there is no
 * room. The message says what to do.
 */
public final class TargetException extends RuntimeException {
  private static final long serialVersionUID = 1;

  public TargetException(String message) {
    super(message);
  }
}
