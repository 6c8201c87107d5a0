package dev.gregale.backend.cuda;

import java.util.Locale;

/** Sizes of memory in words. */
final class Bytes {

  private Bytes() {}

  /** As in {@code 79.2 GiB}. */
  static String gib(long bytes) {
    return String.format(Locale.ROOT, "%.1f GiB", bytes / 0x1p30);
  }
}
