package dev.gregale.engine;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.time.Duration;
import org.junit.jupiter.api.Test;

class EngineLimitsTest {

  private static EngineLimits limits(int blocks, int queued, int perRequest, int buffered) {
    return new EngineLimits(
        4,
        32,
        100,
        16,
        blocks,
        8,
        queued,
        perRequest,
        1_000,
        buffered,
        true,
        SchedulingPolicy.FCFS,
        Duration.ZERO);
  }

  @Test
  void saysWhichLimitIsWrongAndWhy() {
    assertThat(limits(7, 10, 8, 64).scheduler().maxWaitingSeqs()).isEqualTo((4 + 10) * 8 + 8);
    assertThatThrownBy(() -> limits(6, 10, 8, 64)).hasMessageContaining("holds 96 tokens");
    assertThatThrownBy(() -> limits(7, 0, 8, 64)).hasMessageContaining("max-queued-requests is 0");
    assertThatThrownBy(() -> limits(7, 10, 0, 64))
        .hasMessageContaining("max-sequences-per-request is 0");
    assertThatThrownBy(() -> limits(7, 10, 8, 31))
        .hasMessageContaining("max-buffered-events is 31");
  }
}
