package dev.gregale.structured;

/** Bits for tokens: bit {@code t % 32} of word {@code t / 32} for token t. */
final class TokenMask {
  final int[] words;

  TokenMask(int vocabSize) {
    words = new int[words(vocabSize)];
  }

  static int words(int vocabSize) {
    return (vocabSize + 31) / 32;
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
