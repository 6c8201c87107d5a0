package dev.gregale.sampling;

/** Why a sequence ended. */
public enum FinishReason {
  /** An end-of-sequence token, a stop token or a stop string. */
  STOP,
  /** {@code max_tokens}, or the model's context is full. */
  LENGTH,
  /** Cancelled: the client went away or the server shuts down. */
  ABORT;
}
