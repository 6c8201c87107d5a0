package dev.gregale.tokenizer;

import ai.djl.huggingface.tokenizers.HuggingFaceTokenizer;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.concurrent.locks.ReadWriteLock;
import java.util.concurrent.locks.ReentrantReadWriteLock;
import java.util.function.Function;

/**
 * Hugging Face's own tokenizer library, loaded from a checkpoint's {@code tokenizer.json} through
 * DJL. Never truncates, never pads, never opens a network connection.
 */
public final class DjlTokenizer implements Tokenizer, AutoCloseable {

  private final HuggingFaceTokenizer tokenizer;
  private final Vocabulary vocabulary;
  private final OptionalInt bosTokenId;
  private final OptionalInt eosTokenId;
  private final int maxTextLength;

  /** Closing frees native memory: it must wait for calls that are inside the library. */
  private final ReadWriteLock lock = new ReentrantReadWriteLock();

  private boolean closed;

  private DjlTokenizer(
      HuggingFaceTokenizer tokenizer,
      Vocabulary vocabulary,
      TokenizerConfig config,
      int maxTextLength) {
    this.tokenizer = tokenizer;
    this.vocabulary = vocabulary;
    this.bosTokenId = vocabulary.id(config.bosToken());
    this.eosTokenId = vocabulary.id(config.eosToken());
    this.maxTextLength = maxTextLength;
  }

  /**
   * Loads a checkpoint's tokenizer; empty if the directory has no {@code tokenizer.json}.
   *
   * <p>Error: {@link TokenizerLoadException} if the file is there but unusable.
   *
   * @param directory of the checkpoint
   * @param maxTextLength longer texts are refused, in UTF-16 code units
   */
  public static Optional<DjlTokenizer> open(Path directory, int maxTextLength) {
    if (maxTextLength < 1) {
      throw new IllegalArgumentException("maxTextLength must be positive, not " + maxTextLength);
    }
    Path file = directory.resolve("tokenizer.json");
    if (!Files.exists(file)) {
      return Optional.empty();
    }
    Vocabulary vocabulary = Vocabulary.read(file);
    TokenizerConfig config = TokenizerConfig.read(directory);
    return Optional.of(new DjlTokenizer(loadNative(file), vocabulary, config, maxTextLength));
  }

  private static HuggingFaceTokenizer loadNative(Path file) {
    DjlEnvironment.prepare();
    try {
      return HuggingFaceTokenizer.builder()
          .optTokenizerPath(file)
          .optTruncation(false)
          .optPadding(false)
          .optAddSpecialTokens(false)
          .build();
    } catch (IOException | RuntimeException e) {
      throw TokenizerFiles.unusable(file, String.valueOf(e.getMessage()), e);
    }
  }

  /**
   * {@inheritDoc}
   *
   * <p>A lone surrogate, which no UTF-8 text can hold, counts as U+FFFD.
   *
   * <p>Error: {@link TextTooLongException} if the text is longer than this tokenizer accepts.
   */
  @Override
  public int[] encode(String text, boolean addSpecialTokens) {
    if (text.length() > maxTextLength) {
      throw new TextTooLongException(text.length(), maxTextLength);
    }
    String wellFormed = replaceLoneSurrogates(text);
    long[] ids = whileOpen(t -> t.encode(wellFormed, addSpecialTokens, false).getIds());
    return Arrays.stream(ids).mapToInt(Math::toIntExact).toArray();
  }

  /**
   * {@inheritDoc}
   *
   * <p>An id at or above {@link #vocabSize()} has no text: models may be padded beyond their
   * vocabulary. Error: {@link IllegalArgumentException} for a negative id.
   */
  @Override
  public String decode(int[] ids, boolean skipSpecialTokens) {
    long[] wide = new long[ids.length];
    for (int i = 0; i < ids.length; i++) {
      if (ids[i] < 0) {
        throw new IllegalArgumentException("token id " + ids[i] + " at " + i + " is negative");
      }
      wide[i] = ids[i];
    }
    return whileOpen(t -> t.decode(wide, skipSpecialTokens));
  }

  /** {@inheritDoc} Empty for an id that the vocabulary does not hold. */
  @Override
  public String token(int id) {
    return vocabulary.token(id);
  }

  @Override
  public int vocabSize() {
    return vocabulary.size();
  }

  @Override
  public OptionalInt bosTokenId() {
    return bosTokenId;
  }

  @Override
  public OptionalInt eosTokenId() {
    return eosTokenId;
  }

  /** Frees the native tokenizer. Later calls of encode and decode fail; closing twice is fine. */
  @Override
  public void close() {
    lock.writeLock().lock();
    try {
      closed = true;
      tokenizer.close();
    } finally {
      lock.writeLock().unlock();
    }
  }

  private <R> R whileOpen(Function<HuggingFaceTokenizer, R> call) {
    lock.readLock().lock();
    try {
      if (closed) {
        throw new IllegalStateException("the tokenizer is closed");
      }
      return call.apply(tokenizer);
    } finally {
      lock.readLock().unlock();
    }
  }

  private static String replaceLoneSurrogates(String text) {
    StringBuilder replaced = null;
    for (int i = 0; i < text.length(); i++) {
      if (!Character.isSurrogate(text.charAt(i))) {
        continue;
      }
      if (Character.charCount(text.codePointAt(i)) == 2) {
        i++; // a proper pair
        continue;
      }
      if (replaced == null) {
        replaced = new StringBuilder(text);
      }
      replaced.setCharAt(i, '\uFFFD');
    }
    return replaced == null ? text : replaced.toString();
  }
}
