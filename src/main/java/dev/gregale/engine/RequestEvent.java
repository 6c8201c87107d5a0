package dev.gregale.engine;

import jdk.jfr.Category;
import jdk.jfr.Description;
import jdk.jfr.Event;
import jdk.jfr.Label;
import jdk.jfr.Name;
import jdk.jfr.StackTrace;
import org.jspecify.annotations.Nullable;

/** One request in a flight recording, from its arrival to its end. */
@Name("dev.gregale.Request")
@Label("Request")
@Category("Gregale")
@Description("A request in the engine, from its arrival to its end")
@StackTrace(false)
final class RequestEvent extends Event {
  @Label("Request Id")
  @Nullable String requestId;

  @Label("Outcome")
  @Description("finished, cancelled or failed")
  @Nullable String outcome;

  @Label("Sequences")
  int sequences;

  @Label("Prompt Tokens")
  long promptTokens;

  @Label("Completion Tokens")
  long completionTokens;

  /** Writes the event of a request that has ended, if anyone records. */
  static void commit(ActiveRequest request, String outcome) {
    RequestEvent event = request.event();
    if (event.shouldCommit()) {
      event.requestId = request.id();
      event.outcome = outcome;
      event.sequences = request.sequences().size();
      for (ActiveSequence sequence : request.sequences()) {
        event.promptTokens += sequence.numPromptTokens();
        event.completionTokens += sequence.completionTokens();
      }
      event.commit();
    }
  }
}
