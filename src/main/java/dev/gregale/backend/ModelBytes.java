package dev.gregale.backend;

/**
 * What a model's weights and activations take, about, before they are allocated.
 *
 * @param divided bytes that devices divide among them, where there are several
 * @param common bytes that each of them has
 */
public record ModelBytes(long divided, long common) {

  public long total() {
    return divided + common;
  }
}
