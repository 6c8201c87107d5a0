package dev.gregale.convert;

import java.io.IOException;
import java.nio.file.Path;

/** Runs a checkpoint and what it was converted to, and compares what they say. */
@FunctionalInterface
public interface ModelComparison {

  /**
   * Runs both on the same prompts.
   *
   * @param source model directory
   * @param converted model directory, complete but not yet under its name
   * @throws dev.gregale.checkpoint.CheckpointException if one of them cannot be run
   * @throws IOException if a file cannot be read
   */
  LogitsDifference compare(Path source, Path converted) throws IOException;
}
