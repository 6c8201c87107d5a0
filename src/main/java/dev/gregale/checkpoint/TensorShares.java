package dev.gregale.checkpoint;

import static dev.gregale.checkpoint.CheckpointException.quote;

import java.util.Collection;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/**
 * Whether what several files have of a tensor makes a whole. Files of two ranks have the same names
 * and shapes; which experts are whose, only their {@link ShardOffsets} tell.
 */
final class TensorShares {
  private final Map<SafetensorsFile, ShardOffsets> offsets = new HashMap<>();

  /**
   * @throws CheckpointException if a file's metadata is malformed
   */
  TensorShares(Collection<SafetensorsFile> files) {
    files.forEach(file -> offsets.put(file, ShardOffsets.of(file)));
  }

  private ShardOffsets offsets(SafetensorsFile file) {
    return offsets.getOrDefault(file, ShardOffsets.NONE);
  }

  /** The files by where their shares begin. */
  List<SafetensorsFile> inOrder(String tensor, List<SafetensorsFile> shares) {
    return shares.stream()
        .sorted(Comparator.comparing(file -> offsets(file).first(tensor)))
        .toList();
  }

  /**
   * @param shares first to last
   * @throws CheckpointException if they are not one tensor of experts, cut along its first axis, or
   *     a whole by itself
   */
  void requireWhole(String tensor, List<SafetensorsFile> shares) {
    if (shares.size() > 1 && !CheckpointLayout.isStackedExperts(tensor)) {
      throw new CheckpointException(
          "%s: tensor %s lies in %s too; only experts are read in parts, what else ranks have must"
                  .formatted(
                      shares.getFirst().path(), quote(tensor), shares.get(1).path().getFileName())
              + " be whole and there once: gather it before it is saved");
    }
    TensorInfo first = shares.getFirst().info(tensor);
    long begin = 0;
    for (SafetensorsFile file : shares) {
      TensorInfo share = file.info(tensor);
      if (!offsets(file).begins(tensor, share.shape(), begin)) {
        throw new CheckpointException(
            "%s: tensor %s begins at %s by the file's metadata, expected %d along its first axis; a"
                    .formatted(file.path(), quote(tensor), offsets(file).describe(tensor), begin)
                + " rank's file is missing or there twice");
      }
      requireLike(file, share, first);
      begin += shares.size() == 1 ? 0 : share.shape().dim(0);
      requireCountable(file, first, begin);
    }
  }

  private static void requireLike(SafetensorsFile file, TensorInfo share, TensorInfo first) {
    boolean fits = share.shape().rank() == first.shape().rank() && share.dtype() == first.dtype();
    for (int axis = 1; fits && axis < first.shape().rank(); axis++) {
      fits = share.shape().dim(axis) == first.shape().dim(axis);
    }
    if (!fits) {
      throw new CheckpointException(
          "%s: tensor %s: found %s %s, the first rank has %s %s; expected one type, and the same"
                  .formatted(
                      file.path(),
                      quote(share.name()),
                      share.dtype(),
                      share.shape(),
                      first.dtype(),
                      first.shape())
              + " lengths but for the number of experts");
    }
  }

  private static void requireCountable(SafetensorsFile file, TensorInfo first, long length) {
    try {
      first.shape().withFirst(length).numBytes(first.dtype());
    } catch (ArithmeticException | IllegalArgumentException e) {
      throw new CheckpointException(
          "%s: tensor %s: too many elements in all parts"
              .formatted(file.path(), quote(first.name())),
          e);
    }
  }
}
