package dev.gregale.convert;

import java.io.IOException;
import java.nio.file.FileSystemException;

/** What an exception of a file says to a user. */
public final class IoReason {
  private IoReason() {}

  /** Its message, where that says more than the name of the file. */
  public static String of(IOException e) {
    boolean tells =
        e instanceof FileSystemException file
            ? file.getReason() != null
            : e.getClass() == IOException.class;
    return tells
        ? String.valueOf(e.getMessage())
        : e.getClass().getSimpleName() + ": " + e.getMessage();
  }
}
