package dev.gregale.web;

import dev.gregale.tokenizer.TokenDecoder;
import dev.gregale.tokenizer.Tokenizer;
import java.nio.charset.StandardCharsets;
import java.util.concurrent.atomic.AtomicReferenceArray;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;
import org.springframework.stereotype.Component;

/**
 * The text of single tokens, as log-probabilities report it. Results are kept, at most one per
 * vocabulary entry.
 */
@Component
final class TokenTexts {
  /**
   * A token's text inside of a longer text.
   *
   * @param shown how it is reported
   * @param length code points that it adds
   * @param special whether it is left out with skip_special_tokens
   * @param bytes in UTF-8; null for a token without text
   */
  record TokenText(String shown, int length, boolean special, int @Nullable [] bytes) {}

  private final @Nullable Tokenizer tokenizer;
  private final @Nullable TokenDecoder decoder;
  private final AtomicReferenceArray<@Nullable TokenText> known;

  TokenTexts(@Nullable Tokenizer tokenizer) {
    this.tokenizer = tokenizer;
    this.decoder = tokenizer == null ? null : new TokenDecoder(tokenizer);
    this.known = new AtomicReferenceArray<>(tokenizer == null ? 0 : tokenizer.vocabSize());
  }

  /** The token's text where other text precedes it. */
  TokenText inside(int id) {
    if (decoder == null || id < 0 || id >= known.length()) {
      return new TokenText("token_id:" + id, 0, true, null);
    }
    TokenText text = known.get(id);
    if (text == null) {
      text = decode(decoder, id);
      known.set(id, text);
    }
    return text;
  }

  /** The token's text where nothing precedes it. */
  TokenText first(int id, boolean skipSpecialTokens) {
    TokenText inside = inside(id);
    if (tokenizer == null || inside.shown().startsWith("bytes:") || inside.length() == 0) {
      return inside;
    }
    String alone = tokenizer.decode(new int[] {id}, skipSpecialTokens);
    return new TokenText(alone, length(alone), inside.special(), bytes(alone));
  }

  private static TokenText decode(TokenDecoder decoder, int id) {
    int loneByte = decoder.loneByte(id);
    if (loneByte >= 0) {
      boolean continuation = (loneByte & 0xC0) == 0x80; // UTF-8: the lead byte counts for all
      return new TokenText(
          "bytes:\\x%02x".formatted(loneByte), continuation ? 0 : 1, false, new int[] {loneByte});
    }
    String text = decoder.text(id, false);
    return new TokenText(text, length(text), decoder.isSpecial(id), bytes(text));
  }

  private static int[] bytes(String text) {
    byte[] utf8 = text.getBytes(StandardCharsets.UTF_8);
    return IntStream.range(0, utf8.length).map(i -> utf8[i] & 0xFF).toArray();
  }

  /** Length as Python counts it. */
  static int length(String text) {
    return text.codePointCount(0, text.length());
  }
}
