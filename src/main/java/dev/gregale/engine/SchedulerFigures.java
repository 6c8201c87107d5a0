package dev.gregale.engine;

import dev.gregale.scheduler.Scheduler;

/** What one scheduler was last seen to have. One thread observes it, any thread reads gauges. */
final class SchedulerFigures {
  private volatile int running;
  private volatile int waiting;
  private volatile int freeBlocks;
  private long preemptions;
  private long queries;
  private long hits;

  SchedulerFigures(int numBlocks) {
    freeBlocks = numBlocks;
  }

  void observe(Scheduler scheduler) {
    running = scheduler.numRunning();
    waiting = scheduler.numWaiting();
    freeBlocks = scheduler.numFreeBlocks();
    preemptions = scheduler.numPreemptions();
    queries = scheduler.numQueriedTokens();
    hits = scheduler.numHitTokens();
  }

  /** Since it was last observed. */
  long newPreemptions(Scheduler scheduler) {
    return scheduler.numPreemptions() - preemptions;
  }

  /** Since it was last observed, in tokens. */
  long newQueries(Scheduler scheduler) {
    return scheduler.numQueriedTokens() - queries;
  }

  /** Since it was last observed, in tokens. */
  long newHits(Scheduler scheduler) {
    return scheduler.numHitTokens() - hits;
  }

  int running() {
    return running;
  }

  int waiting() {
    return waiting;
  }

  int freeBlocks() {
    return freeBlocks;
  }
}
