package dev.gregale.engine;

import java.util.ArrayDeque;
import java.util.List;
import java.util.Queue;

/**
 * The one queue in front of all replicas of the model. A request goes to the replica with the
 * fewest sequences, as soon as that one can run it: so none waits at a busy replica while another
 * has become idle. Two do not wait here: whoever has but one replica to go to, and whoever may
 * overtake by priority, which is for a scheduler to decide. Safe for use by several threads.
 */
final class ReplicaQueue {
  private final List<LoopCommands> replicas;
  private final long maxNumSeqs;
  private final int[] liveSequences;
  private final Queue<ActiveRequest> waiting = new ArrayDeque<>();
  private volatile int waitingSequences;

  /**
   * @param replicas their inboxes
   * @param limits of each
   */
  ReplicaQueue(List<LoopCommands> replicas, EngineLimits limits) {
    this.replicas = List.copyOf(replicas);
    boolean holds = replicas.size() > 1 && limits.schedulingPolicy() == SchedulingPolicy.FCFS;
    maxNumSeqs = holds ? limits.maxNumSeqs() : Long.MAX_VALUE;
    liveSequences = new int[replicas.size()];
  }

  synchronized void submit(ActiveRequest request) {
    waiting.add(request);
    waitingSequences += request.sequences().size();
    handOut();
  }

  private void handOut() {
    for (ActiveRequest next = waiting.peek(); next != null; next = waiting.peek()) {
      int replica = leastLoaded();
      int live = liveSequences[replica];
      if (live > 0 && live + next.sequences().size() > maxNumSeqs) {
        return;
      }
      waiting.remove();
      assign(next, replica);
      replicas.get(replica).submit(new LoopCommand.Admit(next));
    }
  }

  private void assign(ActiveRequest request, int replica) {
    int sequences = request.sequences().size();
    waitingSequences -= sequences;
    liveSequences[replica] += sequences;
    request.assign(replica);
  }

  private int leastLoaded() {
    int least = 0;
    for (int i = 1; i < liveSequences.length; i++) {
      least = liveSequences[i] < liveSequences[least] ? i : least;
    }
    return least;
  }

  /** A sequence is done with at that replica. */
  synchronized void left(int replica) {
    liveSequences[replica]--;
    handOut();
  }

  /** Takes back a request that no replica has yet; false if one has. */
  synchronized boolean withdraw(ActiveRequest request) {
    boolean found = waiting.remove(request);
    if (found) {
      waitingSequences -= request.sequences().size();
      handOut(); // one behind it may fit
    }
    return found;
  }

  /** Ends a sequence at the replica that has its request. */
  synchronized void abort(ActiveSequence sequence) {
    replicas.get(sequence.request().replica()).submit(new LoopCommand.Abort(sequence));
  }

  /** Gives one replica all that wait, room or not. */
  synchronized List<ActiveRequest> takeAll(int replica) {
    List<ActiveRequest> all = List.copyOf(waiting);
    waiting.clear();
    all.forEach(request -> assign(request, replica));
    return all;
  }

  /** One replica has failed, and so has the engine. */
  void failAll(Throwable cause) {
    replicas.forEach(replica -> replica.submit(new LoopCommand.Fail(cause)));
  }

  /** Wakes all replicas. */
  void wake() {
    replicas.forEach(LoopCommands::wake);
  }

  /** Sequences that no replica has yet. */
  int waitingSequences() {
    return waitingSequences;
  }
}
