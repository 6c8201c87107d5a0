package dev.gregale.web;

import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * How one route words what the engine says.
 *
 * @param <L> its shape of log-probabilities
 */
interface ReplyFormat<L> {

  /** OpenTelemetry's name of what the route does. */
  String operation();

  /** What collects the log-probabilities of a sequence of the engine. */
  LogprobsCollector<L> logprobs(Completion completion, int sequence);

  /** Whether a choice's first event comes before its first text: chat's role, echo's prompt. */
  boolean opens(Completion completion);

  /** The whole answer. */
  Object response(Completion completion, List<Piece<L>> choices, Usage usage);

  /**
   * One event of a stream, without usage.
   *
   * @param piece null in the event that only holds the usage
   * @param first whether it is the choice's first
   */
  Object chunk(Completion completion, @Nullable Piece<L> piece, boolean first);
}
