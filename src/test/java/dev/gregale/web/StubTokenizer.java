package dev.gregale.web;

import dev.gregale.tokenizer.Tokenizer;
import java.io.ByteArrayOutputStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.OptionalInt;

/**
 * A tokenizer small enough to follow by eye, with SentencePiece's habits: words of a fixed list
 * with their space in front, one token per byte for the rest, a space put in front of a text and
 * the first one dropped in decoding.
 */
final class StubTokenizer implements Tokenizer {
  static final int BOS = 1;
  static final int EOS = 2;
  static final int VOCAB_SIZE = 300;
  private static final int FIRST_BYTE = 3;
  private static final List<String> WORDS = List.of("▁Once", "▁upon", "▁a", "▁time", "a", "▁");
  private static final int FIRST_WORD = FIRST_BYTE + 256;

  static int word(String word) {
    return FIRST_WORD + WORDS.indexOf(word);
  }

  static int byteToken(int value) {
    return FIRST_BYTE + value;
  }

  @Override
  public int[] encode(String text, boolean addSpecialTokens) {
    List<Integer> ids = new ArrayList<>();
    if (addSpecialTokens) {
      ids.add(BOS);
    }
    String rest = (text.equals("a") ? "" : "▁") + text.replace(' ', '▁');
    while (!rest.isEmpty()) {
      String left = rest;
      String word =
          WORDS.stream()
              .filter(left::startsWith)
              .findFirst()
              .orElse(left.substring(0, charsOf(left)));
      if (WORDS.contains(word)) {
        ids.add(word(word));
      } else {
        for (byte b : word.getBytes(StandardCharsets.UTF_8)) {
          ids.add(byteToken(b & 0xFF));
        }
      }
      rest = rest.substring(word.length());
    }
    return ids.stream().mapToInt(Integer::intValue).toArray();
  }

  private static int charsOf(String text) {
    return Character.charCount(text.codePointAt(0));
  }

  @Override
  public String decode(int[] ids, boolean skipSpecialTokens) {
    var bytes = new ByteArrayOutputStream();
    for (int id : ids) {
      if (id < FIRST_BYTE) {
        bytes.writeBytes(
            skipSpecialTokens ? new byte[0] : token(id).getBytes(StandardCharsets.UTF_8));
      } else if (id < FIRST_WORD) {
        bytes.write(id - FIRST_BYTE);
      } else {
        bytes.writeBytes(token(id).replace('▁', ' ').getBytes(StandardCharsets.UTF_8));
      }
    }
    String text = bytes.toString(StandardCharsets.UTF_8);
    return text.startsWith(" ") ? text.substring(1) : text;
  }

  @Override
  public String token(int id) {
    return switch (id) {
      case 0 -> "<unk>";
      case BOS -> "<s>";
      case EOS -> "</s>";
      default ->
          id < FIRST_WORD
              ? "<0x%02X>".formatted(id - FIRST_BYTE)
              : id - FIRST_WORD < WORDS.size() ? WORDS.get(id - FIRST_WORD) : "▁w" + id;
    };
  }

  @Override
  public int vocabSize() {
    return VOCAB_SIZE;
  }

  @Override
  public OptionalInt bosTokenId() {
    return OptionalInt.of(BOS);
  }

  @Override
  public OptionalInt eosTokenId() {
    return OptionalInt.of(EOS);
  }
}
