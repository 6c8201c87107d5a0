package dev.gregale.structured;

/**
 * The inside of a JSON string, byte by byte: UTF-8 and escapes, up to the closing quote. Surrogates
 * are not escaped: a character beyond U+FFFF is written as itself, so that every escape is one
 * character.
 */
final class StringBytes {
  /** Between characters. */
  static final int TEXT = 0;

  /** The string is over. */
  static final int CLOSED = -2;

  /** No string goes on like that. */
  static final int DEAD = -1;

  static final int NUM_STATES = 14;

  private static final int ESCAPE = 1;
  private static final int HEX_FIRST = 2;
  private static final int HEX_AFTER_D = 3;
  private static final int HEX_SECOND = 4;
  private static final int HEX_THIRD = 5;
  private static final int HEX_FOURTH = 6;
  private static final int LAST = 7;
  private static final int TWO_LEFT = 8;
  private static final int AFTER_E0 = 9;
  private static final int AFTER_ED = 10;
  private static final int THREE_LEFT = 11;
  private static final int AFTER_F0 = 12;
  private static final int AFTER_F4 = 13;

  private StringBytes() {}

  /**
   * The state behind a byte.
   *
   * @param plain whether the one way of writing each character is the shortest: no {@code \\u}, no
   *     {@code \/}, and so no control characters without a short escape
   */
  static int next(int state, int b, boolean plain) {
    return switch (state) {
      case TEXT -> first(b);
      case ESCAPE -> escape(b, plain);
      case HEX_FIRST -> !isHex(b) ? DEAD : b == 'd' || b == 'D' ? HEX_AFTER_D : HEX_SECOND;
      case HEX_AFTER_D -> b >= '0' && b <= '7' ? HEX_THIRD : DEAD;
      case HEX_SECOND -> isHex(b) ? HEX_THIRD : DEAD;
      case HEX_THIRD -> isHex(b) ? HEX_FOURTH : DEAD;
      case HEX_FOURTH -> isHex(b) ? TEXT : DEAD;
      case LAST -> within(b, 0x80, 0xBF, TEXT);
      case TWO_LEFT -> within(b, 0x80, 0xBF, LAST);
      case AFTER_E0 -> within(b, 0xA0, 0xBF, LAST);
      case AFTER_ED -> within(b, 0x80, 0x9F, LAST);
      case THREE_LEFT -> within(b, 0x80, 0xBF, TWO_LEFT);
      case AFTER_F0 -> within(b, 0x90, 0xBF, TWO_LEFT);
      case AFTER_F4 -> within(b, 0x80, 0x8F, TWO_LEFT);
      default -> throw new IllegalArgumentException("no state " + state);
    };
  }

  private static int first(int b) {
    if (b < 0x80) {
      return b == '"' ? CLOSED : b == '\\' ? ESCAPE : b < 0x20 ? DEAD : TEXT;
    } else if (b < 0xE0) {
      return b < 0xC2 ? DEAD : LAST;
    } else if (b < 0xF0) {
      return b == 0xE0 ? AFTER_E0 : b == 0xED ? AFTER_ED : TWO_LEFT;
    }
    return b == 0xF0 ? AFTER_F0 : b < 0xF4 ? THREE_LEFT : b == 0xF4 ? AFTER_F4 : DEAD;
  }

  private static int escape(int b, boolean plain) {
    return switch (b) {
      case '"', '\\', 'b', 'f', 'n', 'r', 't' -> TEXT;
      case '/' -> plain ? DEAD : TEXT;
      case 'u' -> plain ? DEAD : HEX_FIRST;
      default -> DEAD;
    };
  }

  private static boolean isHex(int b) {
    return b >= '0' && b <= '9' || b >= 'a' && b <= 'f' || b >= 'A' && b <= 'F';
  }

  private static int within(int b, int low, int high, int next) {
    return b >= low && b <= high ? next : DEAD;
  }
}
