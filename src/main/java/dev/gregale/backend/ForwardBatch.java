package dev.gregale.backend;

/**
 * A ragged batch (THD) in device-visible arrays: the new tokens of all sequences packed one after
 * the other, never padded to a common length. The arrays are allocated once at their capacity; the
 * three counts say how much of them this step uses.
 *
 * <p>Legend: T tokens, S sequences, R rows whose logits are wanted, all int32.
 */
public final class ForwardBatch {
  private final Tensor tokenIds;
  private final Tensor positions;
  private final Tensor slotMapping;
  private final Tensor cuSeqLens;
  private final Tensor contextLens;
  private final Tensor blockTables;
  private final Tensor logitRows;
  private int numTokens;
  private int numSeqs;
  private int numLogitRows;

  /**
   * @param tokenIds {@code [T]}
   * @param positions {@code [T]}, position of each token in its sequence
   * @param slotMapping {@code [T]}, block * blockSize + offset where the token's K and V go; -1
   *     marks a padding row, which writes nothing
   * @param cuSeqLens {@code [S + 1]}, first token row of each sequence
   * @param contextLens {@code [S]}, tokens of each sequence once this step's are written
   * @param blockTables {@code [S, maxBlocksPerSeq]}
   * @param logitRows {@code [R]}, token rows to gather before lm_head
   */
  public ForwardBatch(
      Tensor tokenIds,
      Tensor positions,
      Tensor slotMapping,
      Tensor cuSeqLens,
      Tensor contextLens,
      Tensor blockTables,
      Tensor logitRows) {
    this.tokenIds = tokenIds;
    this.positions = positions;
    this.slotMapping = slotMapping;
    this.cuSeqLens = cuSeqLens;
    this.contextLens = contextLens;
    this.blockTables = blockTables;
    this.logitRows = logitRows;
  }

  /** Sets the counts of the step whose arrays were just written. */
  public void resize(int numTokens, int numSeqs, int numLogitRows) {
    this.numTokens = numTokens;
    this.numSeqs = numSeqs;
    this.numLogitRows = numLogitRows;
  }

  /** T, padding rows included. */
  public int numTokens() {
    return numTokens;
  }

  /** S. */
  public int numSeqs() {
    return numSeqs;
  }

  /** R. */
  public int numLogitRows() {
    return numLogitRows;
  }

  public Tensor tokenIds() {
    return tokenIds;
  }

  public Tensor positions() {
    return positions;
  }

  public Tensor slotMapping() {
    return slotMapping;
  }

  public Tensor cuSeqLens() {
    return cuSeqLens;
  }

  public Tensor contextLens() {
    return contextLens;
  }

  public Tensor blockTables() {
    return blockTables;
  }

  public Tensor logitRows() {
    return logitRows;
  }
}
