package dev.gregale.cli;

import java.util.Iterator;
import java.util.NoSuchElementException;
import org.jspecify.annotations.Nullable;

/**
 * Cuts a sequence of tokens into windows in which every token is scored once: in the first window
 * that reaches it. The sequence's first token is scored only behind a beginning-of-sequence token,
 * for without one it follows nothing.
 */
final class ScoringWindows implements Iterator<ScoringWindows.Window> {
  private final int[] tokenIds;
  private final int[] prefix;
  private final int length;
  private final int stride;
  private int start;
  private int scored;

  /**
   * A piece of the sequence that is run at once.
   *
   * @param tokenIds of the window
   * @param scoredFrom the first token that counts; those before are context
   */
  record Window(int[] tokenIds, int scoredFrom) {
    int numScored() {
      return tokenIds.length - scoredFrom;
    }
  }

  /**
   * @param bos what every window starts with; null for nothing
   * @param contextTokens of a window, {@code bos} among them
   * @param stride tokens from one window's start to the next one's, less than contextTokens
   */
  ScoringWindows(int[] tokenIds, @Nullable Integer bos, int contextTokens, int stride) {
    if (stride < 1 || stride >= contextTokens) {
      throw new IllegalArgumentException(
          "the stride is %d, but must be from 1 to %d, one less than the context"
              .formatted(stride, contextTokens - 1));
    }
    this.tokenIds = tokenIds;
    this.prefix = bos == null ? new int[0] : new int[] {bos};
    this.length = contextTokens - prefix.length;
    this.stride = stride;
    this.scored = 1 - prefix.length;
  }

  @Override
  public boolean hasNext() {
    return scored < tokenIds.length;
  }

  @Override
  public Window next() {
    if (!hasNext()) {
      throw new NoSuchElementException();
    }
    int end = Math.min(start + length, tokenIds.length);
    int[] window = new int[prefix.length + end - start];
    System.arraycopy(prefix, 0, window, 0, prefix.length);
    System.arraycopy(tokenIds, start, window, prefix.length, end - start);
    Window next = new Window(window, prefix.length + scored - start);
    start += stride;
    scored = end;
    return next;
  }
}
