package dev.gregale.backend.cuda;

import dev.gregale.backend.BackendException;

/** A rank waited for another in vain: what they were to compute together is lost. */
public final class RankFailureException extends BackendException {
  private static final long serialVersionUID = 1L;

  RankFailureException(String message) {
    super(message);
  }

  /** Ranks that have lost each other's step do not find together again. */
  @Override
  public boolean isSticky() {
    return true;
  }
}
