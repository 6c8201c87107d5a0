package dev.gregale.web;

import dev.gregale.engine.EngineUnavailableException;
import dev.gregale.sampling.FinishReason;

/** OpenAI's names of the reasons to stop. */
final class FinishReasons {

  private FinishReasons() {}

  /** The name; an aborted sequence has none, it fails the request. */
  static String of(FinishReason reason) {
    return switch (reason) {
      case STOP -> "stop";
      case LENGTH -> "length";
      case ABORT -> throw new EngineUnavailableException("The engine aborted the request");
    };
  }
}
