package dev.gregale.convert;

/**
 * How far a conversion is.
 *
 * @param phase what is being done
 * @param tensor the last one begun; empty before the first
 * @param bytesDone of the target's tensors: written, forced to the disk and read back
 * @param bytesTotal of the target's tensors
 */
public record ConversionProgress(Phase phase, String tensor, long bytesDone, long bytesTotal) {

  /** In this order. */
  public enum Phase {
    /** What an interrupted run has written is read again. */
    CHECK,
    COPY,
    /** Both models run on prompts, where that was asked for. */
    VERIFY,
    /** The last files, and the target's name. */
    PUBLISH
  }

  /**
   * Is told the progress, several times a second, from any thread. What it throws ends the
   * conversion, which can then be resumed.
   */
  @FunctionalInterface
  public interface Listener {
    void progress(ConversionProgress progress);
  }
}
