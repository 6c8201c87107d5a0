package dev.gregale.web;

/** Shows a client's own text in a message, cut to a length that suits one. */
final class Quoted {
  private static final int MAX_CHARS = 64;

  private Quoted() {}

  static String of(String text) {
    return '\'' + cut(text) + '\'';
  }

  static String cut(String text) {
    return text.length() <= MAX_CHARS ? text : text.substring(0, MAX_CHARS) + "...";
  }
}
