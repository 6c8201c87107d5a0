package dev.gregale.engine;

/** What other threads ask of the loop. */
sealed interface LoopCommand {

  /** Queue the sequences of a request. */
  record Admit(ActiveRequest request) implements LoopCommand {}

  /** End a sequence that nobody wants any more. */
  record Abort(ActiveSequence sequence) implements LoopCommand {}

  /** Fail, as the engine has. */
  record Fail(Throwable cause) implements LoopCommand {}
}
