package dev.gregale.tokenizer;

import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;

/**
 * What single tokens are where other text precedes them. A token is decoded behind a fixed one, for
 * a decoder drops the leading space of what it sees first. Safe for use by several threads.
 */
public final class TokenDecoder {
  private static final Pattern BYTE_TOKEN = Pattern.compile("<0x([0-9A-Fa-f]{2})>");
  private static final String REPLACEMENT = "\uFFFD";

  private final Tokenizer tokenizer;
  private final int[] anchor;
  private final String anchorText;

  public TokenDecoder(Tokenizer tokenizer) {
    this.tokenizer = tokenizer;
    this.anchor = tokenizer.encode("a", false);
    this.anchorText = tokenizer.decode(anchor, false);
  }

  /** Its text behind other text; U+FFFD for half a character. */
  public String text(int id, boolean skipSpecialTokens) {
    int[] ids = Arrays.copyOf(anchor, anchor.length + 1);
    ids[anchor.length] = id;
    String text = tokenizer.decode(ids, skipSpecialTokens);
    return text.startsWith(anchorText)
        ? text.substring(anchorText.length())
        : tokenizer.decode(new int[] {id}, skipSpecialTokens);
  }

  /** The byte that it stands for if that is no character of its own; -1 for any other token. */
  public int loneByte(int id) {
    Matcher byteToken = BYTE_TOKEN.matcher(tokenizer.token(id));
    return byteToken.matches() && text(id, false).contains(REPLACEMENT)
        ? Integer.parseInt(byteToken.group(1), 16)
        : -1;
  }

  /** Whether it is left out with skip_special_tokens. */
  public boolean isSpecial(int id) {
    return !text(id, false).isEmpty() && text(id, true).isEmpty();
  }

  /**
   * The bytes that it adds to a text in UTF-8; null for a special token, one without text, and one
   * that is a piece of a character in a way unknown here.
   */
  public byte @Nullable [] bytes(int id) {
    int loneByte = loneByte(id);
    if (loneByte >= 0) {
      return new byte[] {(byte) loneByte};
    }
    String text = text(id, true);
    boolean piece = text.contains(REPLACEMENT) && !tokenizer.token(id).contains(REPLACEMENT);
    return text.isEmpty() || piece ? null : text.getBytes(StandardCharsets.UTF_8);
  }
}
