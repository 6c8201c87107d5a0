package dev.gregale.backend;

/** Marks among a backend's ops, and the time that passes between them where the ops run. */
public interface Timeline {

  /** Sets a mark behind the ops issued so far. */
  int mark();

  /** Milliseconds between two marks; waits until the later one is reached. */
  double millis(int from, int to);

  /** Forgets all marks. */
  void clear();
}
