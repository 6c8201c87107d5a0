package dev.gregale.engine;

import jdk.jfr.Category;
import jdk.jfr.Description;
import jdk.jfr.Event;
import jdk.jfr.Label;
import jdk.jfr.Name;
import jdk.jfr.StackTrace;
import jdk.jfr.Timespan;

/** One step in a JFR recording. One object, filled anew for every step. */
@Name("dev.gregale.Step")
@Label("Engine step")
@Category("Gregale")
@Description("From when the model was free for it to when its results were taken over")
@StackTrace(false)
final class StepEvent extends Event {
  @Label("Tokens computed")
  int tokens;

  @Label("Sequences")
  int sequences;

  @Label("Tokens drawn")
  int drawn;

  @Label("Sequences waiting")
  int waiting;

  @Label("Queued ahead")
  @Description("How long it stood behind the step before; 0 where the device had to wait for it")
  @Timespan(Timespan.NANOSECONDS)
  long queuedAhead;
}
