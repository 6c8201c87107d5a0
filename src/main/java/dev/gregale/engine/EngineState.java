package dev.gregale.engine;

/** Where the engine stands, for health checks. */
public enum EngineState {
  /** Not started yet. */
  LOADING,
  SERVING,
  /** Stopping: takes nothing new, finishes what it has. Also the state once it has stopped. */
  DRAINING,
  /** The model does not work any more; the process has to be started anew. */
  FAILED
}
