package dev.gregale.tokenizer;

import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import org.jspecify.annotations.Nullable;

/** The methods of Python's {@code str} that chat templates call. */
final class PythonStrings {

  private final int maxLength;

  /**
   * @param maxLength of a result, in UTF-16 code units
   */
  PythonStrings(int maxLength) {
    this.maxLength = maxLength;
  }

  /**
   * Calls a method by its Python name.
   *
   * <p>Error: {@link UnsupportedOperationException} for a method or arguments that are not
   * supported.
   */
  Object call(String self, String method, @Nullable Object[] arguments) {
    return switch (method) {
      case "strip" -> strip(self, string(arguments, 0), true, true);
      case "lstrip" -> strip(self, string(arguments, 0), true, false);
      case "rstrip" -> strip(self, string(arguments, 0), false, true);
      case "upper" -> self.toUpperCase(Locale.ROOT);
      case "lower" -> self.toLowerCase(Locale.ROOT);
      case "split" -> split(self, string(arguments, 0), limit(arguments));
      case "startswith" -> self.startsWith(required(arguments, 0));
      case "endswith" -> self.endsWith(required(arguments, 0));
      case "replace" -> replace(self, required(arguments, 0), required(arguments, 1), arguments);
      default ->
          throw new UnsupportedOperationException(
              "'" + method + "' is not among the string methods that chat templates may call");
    };
  }

  /**
   * Python's strip, lstrip and rstrip.
   *
   * @param chars what to strip; whitespace if null
   */
  static String strip(String text, @Nullable String chars, boolean left, boolean right) {
    int start = 0;
    int end = text.length();
    while (left && start < end && isStripped(text.charAt(start), chars)) {
      start++;
    }
    while (right && end > start && isStripped(text.charAt(end - 1), chars)) {
      end--;
    }
    return text.substring(start, end);
  }

  /** Whitespace as in Python's {@code str.isspace}. */
  static boolean isSpace(char c) {
    return Character.isWhitespace(c) || Character.isSpaceChar(c) || c == '\u0085';
  }

  private static boolean isStripped(char c, @Nullable String chars) {
    return chars == null ? isSpace(c) : chars.indexOf(c) >= 0;
  }

  private static List<String> split(String text, @Nullable String separator, int limit) {
    if (separator != null && separator.isEmpty()) {
      throw new UnsupportedOperationException("split: the separator is empty");
    }
    List<String> parts = new ArrayList<>();
    String rest = separator == null ? strip(text, null, true, false) : text;
    int end = endOfPart(rest, separator);
    while (end >= 0 && parts.size() != limit) {
      parts.add(rest.substring(0, end));
      rest =
          separator == null
              ? strip(rest.substring(end), null, true, false)
              : rest.substring(end + separator.length());
      end = endOfPart(rest, separator);
    }
    if (separator != null || !rest.isEmpty()) {
      parts.add(rest);
    }
    return parts;
  }

  private static int endOfPart(String text, @Nullable String separator) {
    if (separator != null) {
      return text.indexOf(separator);
    }
    for (int i = 0; i < text.length(); i++) {
      if (isSpace(text.charAt(i))) {
        return i;
      }
    }
    return -1;
  }

  private String replace(String text, String from, String to, @Nullable Object[] arguments) {
    if (arguments.length != 2 || from.isEmpty()) {
      throw new UnsupportedOperationException(
          "replace takes what to replace, not empty, and by what");
    }
    long found = 0;
    for (int i = text.indexOf(from); i >= 0; i = text.indexOf(from, i + from.length())) {
      found++;
    }
    if (text.length() + found * (to.length() - from.length()) > maxLength) {
      throw new UnsupportedOperationException("replace: the result is longer than " + maxLength);
    }
    return text.replace(from, to);
  }

  private static @Nullable String string(@Nullable Object[] arguments, int index) {
    Object argument = index < arguments.length ? arguments[index] : null;
    return argument == null ? null : argument.toString();
  }

  private static String required(@Nullable Object[] arguments, int index) {
    String argument = string(arguments, index);
    if (argument == null) {
      throw new UnsupportedOperationException("a string method lacks argument " + (index + 1));
    }
    return argument;
  }

  /** Python's maxsplit; -1, without bound, if not given. */
  private static int limit(@Nullable Object[] arguments) {
    return arguments.length > 1 && arguments[1] instanceof Number n ? n.intValue() : -1;
  }
}
