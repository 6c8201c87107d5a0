package dev.gregale.sampling;

/**
 * What the output of a sequence must be. Safe for use by several threads: many sequences share one.
 */
public interface TokenConstraint {

  /** A matcher at the beginning of the output. */
  TokenMatcher newMatcher();

  /** V, the tokens that it knows of; must be the model's. */
  int vocabSize();
}
