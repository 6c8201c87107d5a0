package dev.gregale.sampling;

/** Where the output of one sequence stands in its {@link TokenConstraint}. For one thread. */
public interface TokenMatcher {

  /** Words of a mask: {@code ceil(V / 32)}. */
  int maskWords();

  /**
   * Writes which tokens may come next, never none: bit {@code t % 32} of word {@code t / 32} for
   * token t.
   *
   * @param masks takes {@link #maskWords} words
   * @param offset of the first
   */
  void writeMask(int[] masks, int offset);

  /** Whether a token may come next. */
  boolean allows(int token);

  /** Goes on behind a token. The end-of-sequence token changes nothing. */
  void accept(int token);
}
