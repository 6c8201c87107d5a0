package dev.gregale.checkpoint;

import org.jspecify.annotations.Nullable;

/**
 * A checkpoint that cannot be used. The message names the file, the tensor or key, what was found
 * and what was expected. Text that comes out of a file is quoted, see {@link #quote}.
 */
public final class CheckpointException extends RuntimeException {

  /** Characters of a hostile name or value that a message repeats at most. */
  private static final int MAX_QUOTED = 120;

  public CheckpointException(String message) {
    super(message);
  }

  public CheckpointException(String message, @Nullable Throwable cause) {
    super(message, cause);
  }

  /** Text from a file for a message: in quotes, cut short, printable ASCII only. */
  public static String quote(String text) {
    StringBuilder out = new StringBuilder("'");
    for (int i = 0; i < Math.min(text.length(), MAX_QUOTED); i++) {
      char c = text.charAt(i);
      if (c >= ' ' && c < 127) {
        out.append(c);
      } else {
        out.append("\\u%04x".formatted((int) c));
      }
    }
    return out.append(text.length() > MAX_QUOTED ? "...'" : "'").toString();
  }
}
