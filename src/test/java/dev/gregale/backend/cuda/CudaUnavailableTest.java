package dev.gregale.backend.cuda;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeFalse;

import java.lang.foreign.Arena;
import java.lang.foreign.SymbolLookup;
import java.util.Collections;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;

class CudaUnavailableTest {
  private static final CudaDevice AMPERE = new CudaDevice(0, "NVIDIA A100", 8, 0, 108, 80L << 30);

  /** Asking again gives the same answer: the first attempt must leave no half-loaded class. */
  @Test
  void saysWhatIsMissingEveryTime() {
    assumeFalse(hasDriver(), "this machine has an NVIDIA driver");
    String first = message();
    assertTrue(first.contains("libcuda.so.1 was not found; install the NVIDIA driver"), first);
    assertEquals(1, first.lines().count());
    assertEquals(first, message());
  }

  @Test
  void anOldGpuIsRefused() {
    CudaDevice volta = new CudaDevice(1, "Tesla V100", 7, 0, 80, 16L << 30);
    assertEquals(
        "GPU 1, Tesla V100 (sm_70, 80 SMs, 16.0 GiB), is older than sm_80;"
            + " use an Ampere GPU or later",
        message(volta::requireSupported));
    new CudaDevice(0, "NVIDIA A100", 8, 0, 108, 80L << 30).requireSupported();
  }

  @Test
  void aBuildWithoutKernelsIsRefused() {
    assertEquals(
        "this build has no CUDA kernels; build it where nvcc (CUDA 13.0 or later) is installed",
        message(() -> new KernelModules(AMPERE, new KernelLibrary(List.of()))));
  }

  /** Of images none of which is for this GPU. */
  @Test
  void aMissingKernelIsNamed() {
    KernelLibrary hopperOnly =
        new KernelLibrary(List.of(new KernelLibrary.Image("sm90a/rms_norm.fatbin", new byte[8])));
    String message =
        message(() -> new KernelModules(AMPERE, hopperOnly).function("rms_norm", "rms_norm_bf16"));
    assertTrue(
        message.startsWith("the kernel rms_norm_bf16 of rms_norm.fatbin for sm_80 does not load"),
        message);
    assertEquals(1, message.lines().count());
  }

  @Test
  void ncclThatIsNotThereIsNamed() {
    assertEquals(
        "NCCL's libnccl-none.so was not found; install it (libnccl2), or name the file in"
            + " gregale.engine.nccl-library",
        message(() -> Nccl.open("libnccl-none.so", List.of(0, 1))));
  }

  @Test
  void moreRanksThanTheirKernelsKnowAreRefused() {
    assertEquals(
        "9 GPUs for one model; take 8 at most",
        message(() -> CudaRanks.open(Collections.nCopies(9, 0), false, null)));
  }

  private static String message(Executable attempt) {
    return String.valueOf(assertThrows(CudaUnavailableException.class, attempt).getMessage());
  }

  private static String message() {
    return message(() -> CudaBackend.open(0, false));
  }

  private static boolean hasDriver() {
    try (Arena arena = Arena.ofConfined()) {
      SymbolLookup.libraryLookup("libcuda.so.1", arena);
      return true;
    } catch (IllegalArgumentException e) {
      return false;
    }
  }
}
