package dev.gregale.structured;

/** A set of tokens, in the form of {@link dev.gregale.sampling.TokenMatcher#writeMask}. */
final class TokenMask {
  final int[] words;

  TokenMask(int vocabSize) {
    words = new int[(vocabSize + 31) / 32];
  }

  void allow(int token) {
    words[token >> 5] |= 1 << token;
  }

  void allowAll(TokenMask other) {
    for (int i = 0; i < words.length; i++) {
      words[i] |= other.words[i];
    }
  }

  boolean allows(int token) {
    return (words[token >> 5] >> token & 1) != 0;
  }
}
