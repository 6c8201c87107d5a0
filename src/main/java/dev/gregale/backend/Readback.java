package dev.gregale.backend;

/**
 * The content of an array, or of several, on its way back to the host, past which further work can
 * be queued. For one copy at a time.
 */
public interface Readback {

  /**
   * Queues a copy of the first {@code count} elements of each array behind the ops issued so far.
   */
  void start(int count);

  /** Waits for the copy, but for nothing issued after it, and hands it out. */
  void finish(int[] values);

  /** The same for fp32 arrays. */
  void finish(float[] values);
}
