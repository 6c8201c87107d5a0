package dev.gregale.backend.parallel;

import dev.gregale.backend.Backend;
import dev.gregale.backend.DeviceMemory;
import dev.gregale.backend.SaturatedInputs;
import java.util.List;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/** What ranks count, added up; null where they do not count it. */
final class RankFigures {

  private RankFigures() {}

  static @Nullable DeviceMemory deviceMemory(List<? extends Backend> ranks) {
    List<DeviceMemory> each =
        ranks.stream().map(Backend::deviceMemory).filter(Objects::nonNull).toList();
    return each.isEmpty()
        ? null
        : new DeviceMemory(
            each.stream().mapToLong(DeviceMemory::allocatedBytes).sum(),
            each.stream().mapToLong(DeviceMemory::totalBytes).sum());
  }

  static @Nullable SaturatedInputs saturatedInputs(List<? extends Backend> ranks) {
    List<SaturatedInputs> each =
        ranks.stream().map(Backend::saturatedInputs).filter(Objects::nonNull).toList();
    return each.isEmpty()
        ? null
        : new SaturatedInputs(
            each.stream().mapToLong(SaturatedInputs::attention).sum(),
            each.stream().mapToLong(SaturatedInputs::experts).sum());
  }
}
