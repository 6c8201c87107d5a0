package dev.gregale.backend.cuda;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeFalse;

import java.lang.foreign.Arena;
import java.lang.foreign.SymbolLookup;
import org.junit.jupiter.api.Test;

class CudaUnavailableTest {

  /** Asking again gives the same answer: the first attempt must leave no half-loaded class. */
  @Test
  void saysWhatIsMissingEveryTime() {
    assumeFalse(hasDriver(), "this machine has an NVIDIA driver");
    String first = message();
    assertTrue(first.contains("libcuda.so.1 was not found; install the NVIDIA driver"), first);
    assertEquals(1, first.lines().count());
    assertEquals(first, message());
  }

  private static String message() {
    return String.valueOf(
        assertThrows(CudaUnavailableException.class, () -> CudaBackend.open(0, false))
            .getMessage());
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
