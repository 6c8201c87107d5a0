package dev.gregale.web;

import java.text.DecimalFormat;
import java.text.DecimalFormatSymbols;
import java.util.Locale;
import org.jspecify.annotations.Nullable;

/** Checks of request fields; each refuses the request with a 400 that names field and range. */
final class Ranges {

  private Ranges() {}

  static void check(boolean condition, String field, String message) {
    if (!condition) {
      throw ApiException.badRequest(field, message);
    }
  }

  /** A value that must be there. */
  static <T> T required(@Nullable T value, String field, String message) {
    if (value == null) {
      throw ApiException.badRequest(field, message);
    }
    return value;
  }

  static int range(String field, @Nullable Integer value, int absent, int min, int max) {
    if (value == null) {
      return absent;
    }
    check(value >= min && value <= max, field, outside(field, value, min, max));
    return value;
  }

  static double range(String field, @Nullable Double value, double absent, double min, double max) {
    if (value == null) {
      return absent;
    }
    check(value >= min && value <= max, field, outside(field, value, min, max)); // NaN fails too
    return value;
  }

  private static String outside(String field, Number value, double min, double max) {
    DecimalFormat plain = new DecimalFormat("0.##", DecimalFormatSymbols.getInstance(Locale.ROOT));
    return field
        + " must be between "
        + plain.format(min)
        + " and "
        + plain.format(max)
        + ", but is "
        + value;
  }
}
