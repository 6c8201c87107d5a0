package dev.gregale.engine;

import static org.assertj.core.api.Assertions.assertThat;

import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.locks.LockSupport;
import jdk.jfr.Recording;
import jdk.jfr.consumer.RecordedEvent;
import jdk.jfr.consumer.RecordingFile;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** What a recording tells of the steps. */
class StepEventTest extends EngineFixture {
  private static final int SHORT_MILLIS = 5;
  private static final int LONG_MILLIS = 25;
  @TempDir private Path folder;

  private static int millis(int step) {
    return step % 2 == 1 ? SHORT_MILLIS : LONG_MILLIS;
  }

  @Override
  int maxInFlight() {
    return 2;
  }

  @Test
  void aRecordingHasEveryStep() throws Exception {
    model.onStep =
        batch -> LockSupport.parkNanos(Duration.ofMillis(millis(model.steps.get())).toNanos());
    Path file = folder.resolve("steps.jfr");
    long start = System.nanoTime();
    try (Recording recording = new Recording()) {
      recording.enable("dev.gregale.Step");
      recording.start();
      all(start(), request(params(10), 1, 2, 3));
      awaitAllFree();
      recording.dump(file);
    }
    Duration wall = Duration.ofNanos(System.nanoTime() - start);
    List<RecordedEvent> events =
        RecordingFile.readAllEvents(file).stream()
            .filter(event -> event.getEventType().getName().equals("dev.gregale.Step"))
            .toList();
    assertThat(events).hasSize(10);
    assertThat(events.getFirst().getInt("tokens")).isEqualTo(3);
    Duration sum = Duration.ZERO;
    for (int i = 0; i < 10; i++) {
      RecordedEvent event = events.get(i);
      assertThat(event.getDuration()).isGreaterThan(Duration.ofMillis(millis(i + 1) - 1));
      assertThat(event.getInt("sequences")).isEqualTo(1);
      assertThat(event.getInt("drawn")).isEqualTo(1);
      sum = sum.plus(event.getDuration());
    }
    assertThat(sum).isLessThan(wall); // one after the other
    assertThat(events.getFirst().getDuration("queuedAhead")).isZero();
    assertThat(events.subList(1, 10))
        .allMatch(event -> event.getDuration("queuedAhead").compareTo(Duration.ofMillis(2)) > 0);
  }
}
