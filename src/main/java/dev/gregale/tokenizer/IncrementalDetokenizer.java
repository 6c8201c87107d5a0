package dev.gregale.tokenizer;

import java.util.Arrays;

/**
 * Turns one sequence's ids into text as they come. Not safe for use by several threads.
 *
 * <p>All that {@link #push} and {@link #finish} return, put together, is what {@link
 * Tokenizer#decode} makes of all the ids at once. To keep that promise for every sequence, text is
 * held back until no later id can change it:
 *
 * <ul>
 *   <li>A run of byte-fallback tokens ({@code <0xE4>}) becomes text when it ends: the decoder shows
 *       the whole run as U+FFFD if any part of it is not UTF-8.
 *   <li>With other vocabularies, text that ends in U+FFFD may be the first half of a character.
 * </ul>
 *
 * <p>As in vLLM and TGI, only a window of the last ids is decoded: those whose text is out, kept as
 * context because a token's leading space depends on there being one before it, and those held.
 * Work per id, averaged over the sequence, does not grow with its length.
 */
public final class IncrementalDetokenizer {

  private static final String REPLACEMENT = "\uFFFD";

  /** Held ids up to which each new one is worth a try; beyond it, tries get rarer. */
  private static final int EAGER_TRIES = 8;

  /** A prompt may end inside a character whose every byte is a token. */
  private static final int MAX_TOKENS_OF_CHARACTER = 4;

  private final Tokenizer tokenizer;
  private final boolean skipSpecialTokens;

  /** The window: {@code contextLength} ids whose text is out, then the held ones. */
  private int[] window = new int[16];

  private int length;
  private int contextLength;
  private String contextText = "";

  /** The last id with text is a byte of a run that may go on. */
  private boolean inByteRun;

  /** How many ids must be held before the next decode is tried. */
  private int nextTry = 1;

  /**
   * @param skipSpecialTokens leave the text of special tokens out
   */
  public IncrementalDetokenizer(Tokenizer tokenizer, boolean skipSpecialTokens) {
    this.tokenizer = tokenizer;
    this.skipSpecialTokens = skipSpecialTokens;
  }

  /**
   * Makes the ids to come a continuation of a prompt, so that prompt text and pushed text join as
   * if decoded together. Call before the first {@link #push}.
   *
   * <p>Where the continuation changes how the prompt's own end reads, as when the prompt stops
   * inside a character, the pushed text starts where the two readings part.
   */
  public void prime(int[] promptIds) {
    if (length > 0) {
      throw new IllegalStateException("prime before the first push, and once");
    }
    int start = promptIds.length;
    boolean found = false;
    while (start > 0 && !found) {
      int id = promptIds[--start];
      boolean isByte = isByteToken(id);
      boolean silent = !isByte && isSilent(id);
      found = !isByte && !silent;
      inByteRun |= isByte;
    }
    start = Math.max(0, start - MAX_TOKENS_OF_CHARACTER);
    window = Arrays.copyOfRange(promptIds, start, Math.max(promptIds.length, start + 16));
    length = promptIds.length - start;
    contextLength = length;
    contextText = decodeWindow();
  }

  /** Takes the next id and returns the text that is now certain, often empty. */
  public String push(int tokenId) {
    append(tokenId);
    if (isByteToken(tokenId)) {
      inByteRun = true;
      return "";
    }
    if (inByteRun && isSilent(tokenId)) { // does not end the run
      length--;
      return "";
    }
    inByteRun = false;
    if (length - contextLength < nextTry) {
      return "";
    }
    String text = decodeWindow();
    if (mayBeIncomplete(text, tokenId)) {
      int held = length - contextLength;
      nextTry = held < EAGER_TRIES ? held + 1 : held + held / 2;
      return "";
    }
    String news = beyondContext(text);
    if (news.isEmpty() && isSilent(tokenId)) { // no use as context
      length--;
      return "";
    }
    release();
    return news;
  }

  /** The text still held back, whole or not. The sequence ends here. */
  public String finish() {
    String rest = peek();
    if (length > contextLength) {
      release();
    }
    return rest;
  }

  /**
   * What {@link #finish} would return now. For the search for stop strings, which should not wait
   * for the token after a newline; decodes everything held.
   */
  public String peek() {
    return length == contextLength ? "" : beyondContext(decodeWindow());
  }

  /** Makes the held ids the context of those to come. */
  private void release() {
    length -= contextLength;
    System.arraycopy(window, contextLength, window, 0, length);
    contextLength = length;
    contextText = decodeWindow();
    nextTry = 1;
    inByteRun = false;
  }

  private String beyondContext(String text) {
    if (text.startsWith(contextText)) {
      return text.substring(contextText.length());
    }
    int shared = 0;
    int most = Math.min(text.length(), contextText.length());
    while (shared < most && text.charAt(shared) == contextText.charAt(shared)) {
      shared++;
    }
    boolean splitsPair = shared > 0 && Character.isHighSurrogate(text.charAt(shared - 1));
    return text.substring(splitsPair ? shared - 1 : shared);
  }

  /** A token that spells U+FFFD itself is whole; any other may end inside a character. */
  private boolean mayBeIncomplete(String text, int lastId) {
    return text.endsWith(REPLACEMENT) && !tokenizer.token(lastId).endsWith(REPLACEMENT);
  }

  /** As the byte-fallback decoder sees it: {@code <0x} and two hexadecimal digits and {@code >}. */
  private boolean isByteToken(int id) {
    String token = tokenizer.token(id);
    return token.length() == 6 && token.startsWith("<0x") && token.endsWith(">");
  }

  /** The id never has text, as a skipped special token. Two, as one space alone is stripped. */
  private boolean isSilent(int id) {
    return tokenizer.decode(new int[] {id, id}, skipSpecialTokens).isEmpty();
  }

  private String decodeWindow() {
    return length == 0 ? "" : tokenizer.decode(Arrays.copyOf(window, length), skipSpecialTokens);
  }

  private void append(int id) {
    if (length == window.length) {
      window = Arrays.copyOf(window, 2 * length);
    }
    window[length++] = id;
  }
}
