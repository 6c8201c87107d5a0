package dev.gregale.config;

import dev.gregale.backend.cuda.CudaUnavailableException;
import dev.gregale.checkpoint.CheckpointException;
import org.springframework.boot.context.properties.bind.BindException;
import org.springframework.boot.web.server.PortInUseException;

/** What the process exits with: sysexits.h where it has a word for it. Documented in the README. */
public enum ExitCode {
  OK(0),
  /** The command line is wrong. */
  USAGE(64),
  /** The model's files are damaged or cannot be run. */
  DATA(65),
  /** The model's directory or a file of it does not exist. */
  NO_INPUT(66),
  /** What the configuration asks for is not on this machine. */
  UNAVAILABLE(69),
  /** A defect, or a device that failed for good: start again. */
  SOFTWARE(70),
  /** The output cannot be made as things are: it exists, or there is no room. */
  CANNOT_CREATE(73),
  /** Reading or writing a file failed. */
  IO_ERROR(74),
  /** A property has a value that cannot be. */
  CONFIG(78);

  private final int code;

  ExitCode(int code) {
    this.code = code;
  }

  public int code() {
    return code;
  }

  /** What a failed start exits with. */
  public static ExitCode of(Throwable failure) {
    for (Throwable e = failure; e != null; e = e.getCause()) {
      switch (e) {
        case StartupException startup -> {
          return startup.exitCode();
        }
        case BindException bind -> {
          return CONFIG;
        }
        case PortInUseException port -> {
          return UNAVAILABLE;
        }
        case CudaUnavailableException cuda -> {
          return UNAVAILABLE;
        }
        case CheckpointException checkpoint -> {
          return DATA;
        }
        default -> {}
      }
    }
    return SOFTWARE;
  }
}
