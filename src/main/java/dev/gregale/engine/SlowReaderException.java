package dev.gregale.engine;

/** The reader fell too far behind the events, and its request was aborted. */
public final class SlowReaderException extends RuntimeException {
  private static final long serialVersionUID = 1;

  public SlowReaderException(String message) {
    super(message);
  }
}
