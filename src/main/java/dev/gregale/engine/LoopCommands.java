package dev.gregale.engine;

import java.util.Queue;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.locks.LockSupport;
import org.jspecify.annotations.Nullable;

/**
 * The loop's inbox. Bounded by admission: a request is in it once, and each of its sequences at
 * most once for each way in which it can be ended from outside the loop.
 */
final class LoopCommands {
  private final Queue<LoopCommand> queue = new ConcurrentLinkedQueue<>();
  private volatile @Nullable Thread loop;

  /** Hands a command over and wakes the loop. */
  void submit(LoopCommand command) {
    queue.add(command);
    wake();
  }

  void wake() {
    LockSupport.unpark(loop);
  }

  @Nullable LoopCommand poll() {
    return queue.poll();
  }

  /** Makes the calling thread the one to be woken. */
  void attach() {
    loop = Thread.currentThread();
  }

  /** Sleeps until woken; may also return for no reason. */
  void await() throws InterruptedException {
    LockSupport.park(this);
    if (Thread.interrupted()) {
      throw new InterruptedException("the engine's loop was interrupted");
    }
  }
}
