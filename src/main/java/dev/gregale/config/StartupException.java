package dev.gregale.config;

/** The server cannot start; the message is all that the user needs to mend it. */
public final class StartupException extends RuntimeException {
  private static final long serialVersionUID = 1;
  private final ExitCode exitCode;

  public StartupException(ExitCode exitCode, String message) {
    super(message);
    this.exitCode = exitCode;
  }

  public ExitCode exitCode() {
    return exitCode;
  }
}
