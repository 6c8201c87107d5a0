package dev.gregale.tokenizer;

import org.jspecify.annotations.Nullable;

/** A tokenizer file that exists but cannot be used. The message names the file. */
public final class TokenizerLoadException extends RuntimeException {

  public TokenizerLoadException(String message, @Nullable Throwable cause) {
    super(message, cause);
  }
}
