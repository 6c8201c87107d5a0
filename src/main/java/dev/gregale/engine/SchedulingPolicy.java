package dev.gregale.engine;

/** Who of those that wait runs next. */
public enum SchedulingPolicy {
  /** First come, first served: requests with a priority are refused. */
  FCFS,
  /** The lowest {@link GenerationRequest#priority} first, then by arrival. */
  PRIORITY
}
