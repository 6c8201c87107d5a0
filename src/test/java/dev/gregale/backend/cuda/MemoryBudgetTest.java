package dev.gregale.backend.cuda;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import org.junit.jupiter.api.Test;

class MemoryBudgetTest {
  private static final long GIB = 1L << 30;
  private static final CudaDevice H100 =
      new CudaDevice(0, "NVIDIA H100 80GB HBM3", 9, 0, 132, 80 * GIB);

  @Test
  void theShareIsOfTheWholeGpuAndCountsWhatIsTaken() {
    MemoryBudget budget = new MemoryBudget(80 * GIB, 78 * GIB, GIB, 0.5);
    assertEquals(39 * GIB - (256L << 20), budget.remaining());
    assertEquals(9 * GIB - (256L << 20), budget.beside(30 * GIB, H100));
  }

  @Test
  void whatOthersHaveCannotBeTaken() {
    MemoryBudget budget = new MemoryBudget(80 * GIB, 10 * GIB, 0, 0.9);
    assertEquals(10 * GIB - (256L << 20), budget.remaining());
    assertEquals(0, new MemoryBudget(80 * GIB, 10 * GIB, 50 * GIB, 0.5).remaining());
  }

  @Test
  void aModelThatDoesNotFitIsOneLineWithTheArithmetic() {
    MemoryBudget budget = new MemoryBudget(80 * GIB, 78 * GIB, 2 * GIB, 0.9);
    CudaUnavailableException e =
        assertThrows(CudaUnavailableException.class, () -> budget.beside(87 * GIB, H100));
    assertEquals(
        "the model needs 87.0 GiB for its weights and activations, but NVIDIA H100 80GB HBM3"
            + " (sm_90, 132 SMs, 80.0 GiB) has room for 69.8 GiB: of 80.0 GiB"
            + " gpu-memory-utilization allows 0.90 (72.0 GiB), scratch memory takes 2.0 GiB, the"
            + " driver keeps 0.3 GiB, and 78.0 GiB are free; take a smaller model, a lower"
            + " max-num-batched-tokens, a higher gpu-memory-utilization, or a GPU with more memory",
        e.getMessage());
  }
}
