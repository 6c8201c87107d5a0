package dev.gregale.tensor;

import static org.assertj.core.api.Assertions.assertThat;

import dev.gregale.tensor.ScaleRows.Run;
import java.util.List;
import org.junit.jupiter.api.Test;

class ScaleRowsTest {

  /** As q, k and v of two groups: whole blocks stand as in the merged matrix's own grid. */
  @Test
  void wholeBlocksAreThoseOfTheMergedMatrix() {
    List<Run> runs =
        List.of(
            new Run(0, 4),
            new Run(1, 2),
            new Run(2, 2),
            new Run(0, 4),
            new Run(1, 2),
            new Run(2, 2));
    ScaleRows rows = ScaleRows.of(runs, 2);
    assertThat(rows.gridRowOfRow())
        .isEqualTo(ScaleRows.of(List.of(new Run(0, 16)), 2).gridRowOfRow());
    assertThat(rows.gridRuns())
        .containsExactly(
            new Run(0, 2),
            new Run(1, 1),
            new Run(2, 1),
            new Run(0, 2),
            new Run(1, 1),
            new Run(2, 1));
  }

  /** Else every part's blocks are counted on where its rows go on. */
  @Test
  void blocksThatRowsOfOthersInterrupt() {
    List<Run> runs = List.of(new Run(0, 2), new Run(1, 1), new Run(0, 2), new Run(1, 1));
    ScaleRows rows = ScaleRows.of(runs, 3);
    assertThat(rows.gridRowOfRow()).containsExactly(0, 0, 1, 0, 2, 1);
    assertThat(rows.gridRuns()).containsExactly(new Run(0, 1), new Run(1, 1), new Run(0, 1));
    ScaleRows whole = ScaleRows.of(runs, WeightScaling.WHOLE);
    assertThat(whole.gridRowOfRow()).containsExactly(0, 0, 1, 0, 0, 1);
    assertThat(whole.gridRows()).isEqualTo(2);
  }
}
