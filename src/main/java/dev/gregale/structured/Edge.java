package dev.gregale.structured;

/** A way from one state of a {@link Grammar} to another. */
sealed interface Edge {
  int target();

  /** One byte of a range. */
  record Bytes(int low, int high, int target) implements Edge {}

  /** The inside of a string and its closing quote. */
  record Text(StringRule rule, int target) implements Edge {}

  /** {@link Limits#WHITESPACE}, or none. */
  record Whitespace(int target) implements Edge {}

  /** A whole rule. */
  record Call(int rule, int target) implements Edge {}

  /** Nothing. */
  record Skip(int target) implements Edge {}
}
