package dev.gregale.backend;

import java.util.List;

/** What the ranks of one model do together. */
public interface Collective {

  /**
   * Every part becomes the sum of all parts, added in the order of the ranks: the same bits
   * everywhere, and in every run.
   *
   * @param parts fp32 {@code [T, D]}, one on each rank
   * @param rows that count
   */
  void allReduce(List<Tensor> parts, int rows);

  /** Whether the ranks allocate from one memory, rather than each from its own. */
  boolean sharesMemory();
}
