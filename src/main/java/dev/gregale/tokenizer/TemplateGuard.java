package dev.gregale.tokenizer;

import com.hubspot.jinjava.interpret.JinjavaInterpreter;
import com.hubspot.jinjava.interpret.TemplateError;
import com.hubspot.jinjava.interpret.TemplateError.ErrorReason;
import com.hubspot.jinjava.interpret.TemplateError.ErrorType;
import com.hubspot.jinjava.tree.Node;
import java.util.List;

/**
 * Watches one render from inside, node by node, and ends it: at the first error, which jinjava
 * would only note down, and when a limit is passed. Stops the rendering thread itself, so that
 * nothing runs on behind a caller who has given up.
 */
final class TemplateGuard {

  /** An Error, since jinjava catches and goes on after most exceptions. */
  @SuppressWarnings("serial") // never leaves ChatTemplate
  static final class Stopped extends Error {
    Stopped(String message) {
      super(message, null, false, false);
    }
  }

  /** The template's function of that name. */
  private static final String RAISE_EXCEPTION = "raise_exception";

  private final ChatTemplate.Limits limits;
  private final long start = System.nanoTime();
  private int nodes;

  TemplateGuard(ChatTemplate.Limits limits) {
    this.limits = limits;
  }

  void beforeNode(Node node, JinjavaInterpreter interpreter) {
    if (++nodes > limits.maxNodes()) {
      throw new Stopped("chat template took more than %d steps".formatted(limits.maxNodes()));
    }
    if (System.nanoTime() - start > limits.maxTime().toNanos()) {
      throw new Stopped(
          "chat template ran longer than %d ms".formatted(limits.maxTime().toMillis()));
    }
  }

  void afterNode(Node node, JinjavaInterpreter interpreter) {
    stopOnError(interpreter.getErrorsCopy());
  }

  /** Notes the template's own error down: its expression ends, and the render after it. */
  static void raise(String message) {
    JinjavaInterpreter interpreter = JinjavaInterpreter.getCurrent();
    interpreter.addError(
        new TemplateError(
            ErrorType.FATAL,
            ErrorReason.EXCEPTION,
            message,
            RAISE_EXCEPTION,
            interpreter.getLineNumber(),
            interpreter.getPosition(),
            null));
  }

  /** A template's own error keeps its message; of others it says that the template failed. */
  static void stopOnError(List<TemplateError> errors) {
    if (!errors.isEmpty()) {
      TemplateError first = errors.getFirst();
      boolean raised = RAISE_EXCEPTION.equals(first.getFieldName());
      throw new Stopped(
          raised ? first.getMessage() : "chat template failed: " + first.getMessage());
    }
  }
}
