package dev.gregale.backend;

/** One layer's share of the paged KV cache; the layout of its blocks is the backend's business. */
public interface KvLayer {

  /** Tokens per block. */
  int blockSize();

  /** Blocks in the pool. */
  int numBlocks();
}
