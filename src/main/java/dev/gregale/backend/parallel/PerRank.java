package dev.gregale.backend.parallel;

import java.util.ArrayList;
import java.util.List;
import java.util.function.BiFunction;
import org.jspecify.annotations.Nullable;

/** Each rank's view of an object that ops are given again and again: made once for each object. */
final class PerRank<T> {
  private final int size;
  private final BiFunction<T, Integer, T> view;
  private @Nullable T known;
  private List<T> views = List.of();

  PerRank(int size, BiFunction<T, Integer, T> view) {
    this.size = size;
    this.view = view;
  }

  List<T> of(T whole) {
    if (whole != known) {
      List<T> made = new ArrayList<>();
      for (int rank = 0; rank < size; rank++) {
        made.add(view.apply(whole, rank));
      }
      views = List.copyOf(made);
      known = whole;
    }
    return views;
  }
}
