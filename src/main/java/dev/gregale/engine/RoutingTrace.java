package dev.gregale.engine;

import java.util.Arrays;
import org.jspecify.annotations.Nullable;

/** The experts of a sequence's tokens, in order, as far as nobody has taken them yet. */
final class RoutingTrace {
  private final int idsPerToken;
  private int numTokens;
  private short[] pending = new short[0];
  private int numPending;

  RoutingTrace(int idsPerToken) {
    this.idsPerToken = idsPerToken;
  }

  /**
   * Adds what a step has found; what a preempted sequence computes again is dropped.
   *
   * @param firstPosition of the tokens that follow
   * @param expertIds {@code [tokens, L, K]}
   */
  void add(int firstPosition, short[] expertIds) {
    int known = (numTokens - firstPosition) * idsPerToken;
    int length = expertIds.length - known;
    if (length <= 0) {
      return;
    }
    if (numPending + length > pending.length) {
      pending = Arrays.copyOf(pending, Math.max(numPending + length, 2 * pending.length));
    }
    System.arraycopy(expertIds, known, pending, numPending, length);
    numPending += length;
    numTokens += length / idsPerToken;
  }

  /** What has come since the last call, {@code [tokens, L, K]}; null if nothing has. */
  short @Nullable [] take() {
    if (numPending == 0) {
      return null;
    }
    short[] taken = Arrays.copyOf(pending, numPending);
    numPending = 0;
    return taken;
  }
}
