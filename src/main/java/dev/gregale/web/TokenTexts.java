package dev.gregale.web;

import dev.gregale.tokenizer.Tokenizer;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.concurrent.atomic.AtomicReferenceArray;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;
import org.springframework.stereotype.Component;

/**
 * The text of single tokens, as log-probabilities report it. A token is decoded behind a fixed one,
 * for a decoder drops the leading space of what it sees first. Results are kept, at most one per
 * vocabulary entry.
 */
@Component
final class TokenTexts {
  private static final Pattern BYTE_TOKEN = Pattern.compile("<0x([0-9A-Fa-f]{2})>");
  private static final char REPLACEMENT = '\uFFFD';

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
  private final int[] anchor;
  private final String anchorText;
  private final AtomicReferenceArray<@Nullable TokenText> known;

  TokenTexts(@Nullable Tokenizer tokenizer) {
    this.tokenizer = tokenizer;
    this.anchor = tokenizer == null ? new int[0] : tokenizer.encode("a", false);
    this.anchorText = tokenizer == null ? "" : tokenizer.decode(anchor, false);
    this.known = new AtomicReferenceArray<>(tokenizer == null ? 0 : tokenizer.vocabSize());
  }

  /** The token's text where other text precedes it. */
  TokenText inside(int id) {
    if (tokenizer == null || id < 0 || id >= known.length()) {
      return new TokenText("token_id:" + id, 0, true, null);
    }
    TokenText text = known.get(id);
    if (text == null) {
      text = decode(tokenizer, id);
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

  private TokenText decode(Tokenizer tokenizer, int id) {
    String text = behindAnchor(tokenizer, id, false);
    Matcher byteToken = BYTE_TOKEN.matcher(tokenizer.token(id));
    if (text.indexOf(REPLACEMENT) >= 0 && byteToken.matches()) {
      int value = Integer.parseInt(byteToken.group(1), 16);
      boolean continuation = (value & 0xC0) == 0x80; // UTF-8: the lead byte counts for all
      return new TokenText(
          "bytes:\\x%02x".formatted(value), continuation ? 0 : 1, false, new int[] {value});
    }
    boolean special = !text.isEmpty() && behindAnchor(tokenizer, id, true).isEmpty();
    return new TokenText(text, length(text), special, bytes(text));
  }

  private static int[] bytes(String text) {
    byte[] utf8 = text.getBytes(StandardCharsets.UTF_8);
    return IntStream.range(0, utf8.length).map(i -> utf8[i] & 0xFF).toArray();
  }

  private String behindAnchor(Tokenizer tokenizer, int id, boolean skipSpecialTokens) {
    int[] ids = Arrays.copyOf(anchor, anchor.length + 1);
    ids[anchor.length] = id;
    String text = tokenizer.decode(ids, skipSpecialTokens);
    return text.startsWith(anchorText)
        ? text.substring(anchorText.length())
        : tokenizer.decode(new int[] {id}, skipSpecialTokens);
  }

  /** Length as Python counts it. */
  static int length(String text) {
    return text.codePointCount(0, text.length());
  }
}
