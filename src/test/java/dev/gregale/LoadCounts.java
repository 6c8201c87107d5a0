package dev.gregale;

/** How often a test that can go on for long repeats itself: more often under {@code -Pload}. */
public final class LoadCounts {
  private LoadCounts() {}

  /**
   * @param usual in every build
   * @param full under the profile {@code load}
   */
  public static int of(int usual, int full) {
    return Boolean.getBoolean("gregale.load") ? full : usual;
  }
}
