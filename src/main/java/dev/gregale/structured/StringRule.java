package dev.gregale.structured;

import java.util.List;

/**
 * What a string may be.
 *
 * @param minLength characters (code points) at least
 * @param maxLength characters at most; {@link #UNBOUNDED} for any number
 * @param otherThan names that it must not be; with any, strings are written the plain way only
 *     ({@link StringBytes#next})
 * @param plain whether strings are written the plain way only
 */
record StringRule(int minLength, int maxLength, Names otherThan, boolean plain) {
  static final int UNBOUNDED = Integer.MAX_VALUE;
  private static final Names NONE = new Names(List.of());

  /** A value. */
  static StringRule value(int minLength, int maxLength) {
    return new StringRule(minLength, maxLength, NONE, false);
  }

  /** The name of a property that is none of those. */
  static StringRule nameOtherThan(Names names) {
    return new StringRule(0, UNBOUNDED, names, true);
  }

  /** How many characters to remember of so many: no more than decide anything. */
  int counted(int chars) {
    return maxLength == UNBOUNDED ? Math.min(chars, minLength) : chars;
  }

  boolean mayEnd(int chars, int name) {
    return chars >= minLength && !otherThan.isName(name);
  }
}
