package dev.gregale.engine;

/** The engine is stopping or has failed. */
public final class EngineUnavailableException extends RuntimeException {
  private static final long serialVersionUID = 1;

  public EngineUnavailableException(String message) {
    super(message, null, false, false); // an answer; what went wrong is logged where it did
  }
}
