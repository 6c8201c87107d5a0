package dev.gregale.server;

import static org.assertj.core.api.Assertions.assertThat;

import java.nio.file.Path;
import java.time.Duration;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * More requests than the server can take, for a few seconds. How quickly they are answered is
 * measured by {@link LoadTest}, on a machine that does nothing else.
 */
class OverloadTest {

  @Test
  void overloadIsRefusedAndHarmsNobody(@TempDir Path folder) throws Exception {
    try (ServerProcess server =
        new ServerProcess(
            folder.resolve("log"),
            java.util.Map.of(),
            "--gregale.engine.threads=1",
            "--gregale.engine.max-num-seqs=" + Overload.SEQS,
            "--gregale.engine.max-queued-requests=" + Overload.QUEUE)) {
      Overload overload = new Overload(server);
      Overload.Phase unloaded = overload.unloaded(Duration.ofSeconds(1));
      Overload.Phase loaded = overload.overloaded(10 * unloaded.perSecond(), Duration.ofSeconds(2));
      assertThat(overload.wrong()).isEmpty();
      assertThat(unloaded.refused().count()).isZero();
      assertThat(loaded.admitted().count()).isPositive();
      assertThat(loaded.refused().count()).isGreaterThan(loaded.admitted().count());
      assertThat(loaded.maxWaiting()).isLessThanOrEqualTo(Overload.QUEUE);
      assertThat(loaded.retries()).doesNotContainKey("none");
    }
  }
}
