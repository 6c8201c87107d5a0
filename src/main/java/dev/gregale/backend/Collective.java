package dev.gregale.backend;

import dev.gregale.tensor.Shape;
import java.util.List;

/** What the ranks of one model do together. */
public interface Collective extends AutoCloseable {

  /**
   * An array of zeros on each rank, for its parts of sums: what {@link #addUp} adds up. There is
   * one such set: a second call gives the same where it is large enough, else it replaces it.
   *
   * @param shape {@code [T, D]}, of fp32
   */
  List<Tensor> allocateParts(Shape shape);

  /**
   * On every rank: residual += part of rank 0 + part of rank 1 + ..., in that order, so that all
   * have the same bits, in every run. The parts are zero afterwards.
   *
   * @param residuals fp32 {@code [T, D]}, one on each rank
   * @param rows that count
   */
  void addUp(List<Tensor> residuals, int rows);

  /**
   * To be called once the host has waited for the ranks.
   *
   * @throws BackendException if one of them waited for another in vain
   */
  void requireHealthy();

  /** Whether the ranks allocate from one memory, rather than each from its own. */
  boolean sharesMemory();

  /** To be called behind the closing of the ranks, whose recorded steps refer to this. */
  @Override
  void close();
}
