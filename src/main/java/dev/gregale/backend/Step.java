package dev.gregale.backend;

/** Recorded work that can be run again and again over the same arrays. */
@FunctionalInterface
public interface Step {
  void run();
}
