package dev.gregale.engine;

/**
 * Lets requests in while there is room, and counts those inside. A request is let in if it can run
 * at once or if the queue is not full. One that has started is not in the queue any more, though
 * its sequences may have to wait again: among them by arrival, so that no more than {@code
 * maxNumSeqs} have started at the same time; by priority there could be any number, so that those
 * inside are counted too. Safe for use by several threads.
 */
final class Admission {
  private static final int MAX_RETRY_AFTER_SECONDS = 60;
  private static final double SMOOTHING = 0.1;

  private final int maxNumSeqs;
  private final int maxQueuedRequests;
  private EngineState state = EngineState.LOADING;
  private int queuedRequests;
  private int liveRequests;
  private int liveSequences;
  private int heldSequences;
  private boolean closed;
  private double meanRunSeconds = 1;

  /**
   * @param limits of each replica; the queue is one
   */
  Admission(EngineLimits limits, int numReplicas) {
    maxNumSeqs = limits.maxNumSeqs() * numReplicas;
    maxQueuedRequests = limits.maxQueuedRequests();
  }

  synchronized EngineState state() {
    return state;
  }

  /** Moves on to a later state; never back. */
  synchronized void advanceTo(EngineState next) {
    if (next.compareTo(state) > 0) {
      state = next;
    }
  }

  /**
   * Lets a request in and enqueues it in one go, so that whoever stops admission knows that nothing
   * is enqueued from then on.
   */
  synchronized void enter(ActiveRequest request, Runnable enqueue) {
    requireRoom(request.sequences().size());
    enqueue(request, enqueue);
  }

  private void enqueue(ActiveRequest request, Runnable enqueue) {
    queuedRequests++;
    liveRequests++;
    liveSequences += request.sequences().size();
    enqueue.run();
  }

  /**
   * Lets in what will {@link #reenter} with that many sequences at a time, again and again, until
   * {@link #release}. Between its requests others run, so all that are in like this may have only
   * as many sequences together as can run, lest they all wait at the same time.
   */
  synchronized void hold(int numSequences) {
    requireRoom(numSequences);
    if (heldSequences > 0 && heldSequences + numSequences > maxNumSeqs) {
      throw new EngineOverloadedException(
          "Beam searches with %d beams are running, and %d more are too many. Try again later."
              .formatted(heldSequences, numSequences),
          retryAfterSeconds());
    }
    heldSequences += numSequences;
  }

  synchronized void release(int numSequences) {
    heldSequences -= numSequences;
  }

  /** Whether somebody may reenter. */
  synchronized boolean isHeld() {
    return heldSequences > 0;
  }

  /** Enqueues a request of somebody who is in, even while draining. */
  synchronized void reenter(ActiveRequest request, Runnable enqueue) {
    if (closed || state == EngineState.FAILED) {
      throw new EngineUnavailableException("The engine has stopped.");
    }
    enqueue(request, enqueue);
  }

  /** Lets nobody reenter any more. */
  synchronized void close() {
    closed = true;
  }

  /** Refuses where a request of that many sequences would be refused now. */
  synchronized void requireRoom(int numSequences) {
    switch (state) {
      case LOADING -> throw new EngineUnavailableException("The model is still being loaded.");
      case DRAINING -> throw new EngineUnavailableException("The server is shutting down.");
      case FAILED -> throw new EngineUnavailableException("The engine has failed.");
      case SERVING -> {}
    }
    if (queuedRequests >= maxQueuedRequests && liveSequences + numSequences > maxNumSeqs) {
      throw new EngineOverloadedException(
          "%d requests are waiting, which is the limit. Try again later.".formatted(queuedRequests),
          retryAfterSeconds());
    }
    if (liveRequests >= maxNumSeqs + maxQueuedRequests) {
      throw new EngineOverloadedException(
          "%d requests are running or waiting, which is the limit. Try again later."
              .formatted(liveRequests),
          retryAfterSeconds());
    }
  }

  /** When about half of the queue should have started. */
  private int retryAfterSeconds() {
    double seconds = meanRunSeconds * queuedRequests / maxNumSeqs / 2;
    return Math.clamp((long) Math.ceil(seconds), 1, MAX_RETRY_AFTER_SECONDS);
  }

  /** A request's first sequence runs. */
  synchronized void leftQueue() {
    queuedRequests--;
  }

  synchronized void sequenceEnded() {
    liveSequences--;
  }

  /** A request of that many sequences was taken back before anybody had it. */
  synchronized void withdrawn(int numSequences) {
    liveSequences -= numSequences;
    endedInQueue();
  }

  /** All sequences of a request have ended before one of them ran. */
  synchronized void endedInQueue() {
    queuedRequests--;
    liveRequests--;
  }

  /** All sequences of a request that ran for that long have ended. */
  synchronized void endedAfter(double seconds) {
    liveRequests--;
    meanRunSeconds += SMOOTHING * (seconds - meanRunSeconds);
  }
}
