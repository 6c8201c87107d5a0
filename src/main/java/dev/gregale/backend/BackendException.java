package dev.gregale.backend;

/** A device refused work or failed at it. The message says which work. */
public abstract class BackendException extends RuntimeException {
  private static final long serialVersionUID = 1L;

  protected BackendException(String message) {
    super(message);
  }

  /** Whether all later work of this process will fail too, so that only a new process helps. */
  public abstract boolean isSticky();
}
