package dev.gregale.config;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gregale.config.EngineProperties.BackendChoice;
import dev.gregale.config.EngineProperties.KvCacheDType;
import dev.gregale.engine.SchedulingPolicy;
import dev.gregale.model.MixtralConfig;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;

class KvPlanTest {
  /** 6 layers of 2 heads of 32: 3,072 bytes a token in fp32, 49,152 a block of 16. */
  private static final MixtralConfig DEMO =
      MixtralConfig.read(Path.of("src/main/resources/models/fairytale-moe-7m"));

  private static final long BYTES_PER_BLOCK = 49_152;

  private static EngineProperties engine(@Nullable Integer maxModelLen, @Nullable Integer blocks) {
    return new EngineProperties(
        BackendChoice.AUTO,
        0,
        false,
        0.9,
        1,
        1,
        1,
        List.of(),
        null,
        8,
        512,
        maxModelLen,
        16,
        blocks,
        KvCacheDType.AUTO,
        true,
        SchedulingPolicy.FCFS,
        10,
        10,
        1000,
        Duration.ZERO);
  }

  private static KvPlan plan(@Nullable Integer maxModelLen, @Nullable Integer blocks, long bytes) {
    return KvPlan.of(DEMO, engine(maxModelLen, blocks), 16, BYTES_PER_BLOCK, bytes);
  }

  @Test
  void takesWhatAllSequencesCouldNeedAndNoMore() {
    assertEquals(new KvPlan(4096, 8 * 256), plan(null, null, 1L << 40));
    assertEquals(new KvPlan(100, 8 * 7), plan(100, null, 1L << 40));
  }

  @Test
  void staysWithinTheMemory() {
    assertEquals(new KvPlan(4096, 300), plan(null, null, 300 * 49_152));
    assertEquals(new KvPlan(32, 2), plan(null, null, 2 * 49_152));
  }

  @Test
  void takesTheBlocksItIsTold() {
    assertEquals(new KvPlan(160, 10), plan(null, 10, 1));
  }

  @Test
  void refusesWhatCannotBe() {
    assertRefused("positions end at 4096", 5000, null, 1L << 40);
    assertRefused("2 blocks of 16 tokens", 33, null, 2 * 49_152);
    assertRefused("0 blocks", null, null, 49_151);
  }

  private static void assertRefused(
      String part, @Nullable Integer maxModelLen, @Nullable Integer blocks, long bytes) {
    StartupException e =
        assertThrows(StartupException.class, () -> plan(maxModelLen, blocks, bytes));
    assertTrue(String.valueOf(e.getMessage()).contains(part), e.getMessage());
    assertEquals(ExitCode.CONFIG, e.exitCode());
  }
}
