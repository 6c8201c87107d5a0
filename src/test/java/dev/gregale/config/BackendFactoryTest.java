package dev.gregale.config;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;

import dev.gregale.backend.Backend;
import dev.gregale.backend.BackendException;
import dev.gregale.backend.cpu.CpuBackend;
import dev.gregale.backend.cuda.CudaUnavailableException;
import dev.gregale.config.EngineProperties.BackendChoice;
import dev.gregale.config.EngineProperties.KvCacheDType;
import dev.gregale.engine.SchedulingPolicy;
import dev.gregale.model.LoadFormat;
import dev.gregale.model.ModelLoader;
import dev.gregale.model.Precision;
import dev.gregale.quantization.Quantization;
import dev.gregale.tensor.InputScaling;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Set;
import java.util.function.Supplier;
import org.junit.jupiter.api.Test;

class BackendFactoryTest {

  private static EngineProperties properties(
      BackendChoice backend, int ranks, int expertGroups, int replicas, List<Integer> devices) {
    return new EngineProperties(
        backend,
        1,
        false,
        0.9,
        ranks,
        expertGroups,
        replicas,
        devices,
        null,
        8,
        512,
        null,
        null,
        null,
        KvCacheDType.AUTO,
        true,
        SchedulingPolicy.FCFS,
        10,
        10,
        1000,
        Duration.ZERO);
  }

  private static Backend missing() {
    throw new CudaUnavailableException("there is no GPU", "plug one in");
  }

  private static Backend broken() {
    throw new BackendException("making a context: CUDA_ERROR_ECC_UNCORRECTABLE") {
      private static final long serialVersionUID = 1L;

      @Override
      public boolean isSticky() {
        return true;
      }
    };
  }

  @Test
  void cudaWithoutCudaIsOneLineAndAnExitCode() {
    assertRefused(BackendFactoryTest::missing, "there is no GPU; plug one in");
    assertRefused(BackendFactoryTest::broken, "making a context: CUDA_ERROR_ECC_UNCORRECTABLE");
  }

  private static void assertRefused(Supplier<Backend> cuda, String reason) {
    StartupException e =
        assertThrows(
            StartupException.class,
            () -> BackendFactory.choose(BackendChoice.CUDA, cuda, BackendFactoryTest::unwanted));
    assertEquals("gregale.engine.backend=cuda: " + reason, e.getMessage());
    assertEquals(ExitCode.UNAVAILABLE, e.exitCode());
  }

  private static Backend unwanted() {
    throw new AssertionError("asked for the other one");
  }

  @Test
  void autoTakesWhatWorks() {
    try (Backend backend = CpuBackend.reference()) {
      Supplier<Backend> works = () -> backend;
      assertSame(
          backend, BackendFactory.choose(BackendChoice.AUTO, BackendFactoryTest::missing, works));
      assertSame(
          backend, BackendFactory.choose(BackendChoice.AUTO, works, BackendFactoryTest::unwanted));
      assertSame(
          backend, BackendFactory.choose(BackendChoice.CPU, BackendFactoryTest::unwanted, works));
    }
  }

  /** Also where it shows late, as when the memory runs out while the model is loaded. */
  @Test
  void aGpuThatDoesNotDoHasItsExitCode() {
    Throwable late =
        new IllegalStateException(new CudaUnavailableException("too small", "take a larger one"));
    assertEquals(ExitCode.UNAVAILABLE, ExitCode.of(late));
  }

  private static ModelLoader demo(Precision precision) {
    return ModelLoader.open(
        Path.of("src/main/resources/models/fairytale-moe-7m"), LoadFormat.AUTO, precision);
  }

  @Test
  void aModelThatCannotBeDividedIsRefusedBeforeAnythingIsLoaded() {
    try (ModelLoader demo = demo(Precision.AS_STORED)) {
      assertIndivisible(
          demo,
          ranks(4, 1),
          "gregale.engine.tensor-parallel-size=4, expert-parallel-size=1: 6 query heads cannot be"
              + " divided by 4: 2 remain");
      try (Backend two = BackendFactory.create(ranks(2, 2), demo).getFirst()) {
        assertEquals("cpu", two.name());
      }
    }
  }

  @Test
  void blocksOfOneScaleAreNotDivided() {
    try (ModelLoader demo =
        demo(new Precision(Quantization.FP8_BLOCK.recipe(), InputScaling.When.NEVER))) {
      assertIndivisible(
          demo,
          ranks(2, 1),
          "gregale.engine.tensor-parallel-size=2, expert-parallel-size=1: 96 columns on each rank"
              + " are not whole blocks of 128, which share an FP8 scale: 96 remain");
    }
  }

  private static void assertIndivisible(
      ModelLoader model, EngineProperties properties, String message) {
    StartupException e =
        assertThrows(StartupException.class, () -> BackendFactory.create(properties, model));
    assertEquals(message, e.getMessage());
    assertEquals(ExitCode.CONFIG, e.exitCode());
  }

  private static EngineProperties ranks(int size, int expertGroups) {
    return properties(BackendChoice.CPU, size, expertGroups, 1, List.of());
  }

  @Test
  void eachReplicaIsABackendOfItsOwn() {
    try (ModelLoader demo = demo(Precision.AS_STORED)) {
      List<Backend> three =
          BackendFactory.create(properties(BackendChoice.CPU, 1, 1, 3, List.of()), demo);
      assertEquals(3, Set.copyOf(three).size());
      three.forEach(Backend::close);
    }
  }

  @Test
  void devicesMustBeAsManyAsRanks() {
    try (ModelLoader demo = demo(Precision.AS_STORED)) {
      assertIndivisible(
          demo,
          properties(BackendChoice.AUTO, 2, 1, 2, List.of(0, 1, 2)),
          "gregale.engine.devices names 3 GPUs, but 2 replicas of 2 ranks take 4");
      assertIndivisible(
          demo,
          properties(BackendChoice.AUTO, 1, 1, 0, List.of()),
          "gregale.engine.data-parallel-size is 0, not 1 or more");
    }
  }
}
