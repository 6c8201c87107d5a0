package dev.gregale.structured;

import org.jspecify.annotations.Nullable;

/** A place in a {@link Grammar} that what was written so far can have led to. */
sealed interface Position {

  /** Where to return to once the rules called so far have ended. */
  record Frame(int returnTo, @Nullable Frame caller, int depth) {

    static Frame of(int returnTo, @Nullable Frame caller) {
      return new Frame(returnTo, caller, depth(caller) + 1);
    }

    /** Objects and arrays that are open; alternatives push no frame. */
    static int depth(@Nullable Frame frame) {
      return frame == null ? 0 : frame.depth;
    }
  }

  /** At a state that reads bytes. */
  record At(int state, @Nullable Frame caller) implements Position {}

  /**
   * Inside a string.
   *
   * @param bytes state of {@link StringBytes}
   * @param chars characters so far, as {@link StringRule#counted}
   * @param name node of {@link Names}
   * @param target state behind the closing quote
   */
  record InString(
      StringRule rule, int bytes, int chars, int name, int target, @Nullable Frame caller)
      implements Position {}

  /**
   * Within whitespace that may go on.
   *
   * @param length bytes of it so far
   * @param target state behind it
   */
  record InWhitespace(int length, int target, @Nullable Frame caller) implements Position {}
}
