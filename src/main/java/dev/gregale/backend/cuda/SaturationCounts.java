package dev.gregale.backend.cuda;

import static dev.gregale.backend.cuda.CudaErrorException.check;

import dev.gregale.backend.SaturatedInputs;
import dev.gregale.backend.WeightRole;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.VarHandle;
import jcuda.Pointer;
import jcuda.driver.JCudaDriver;

/**
 * Counts the inputs that fixed scales cut off, in host memory that kernels write to. They do so for
 * rows with such a value alone, so that it costs nothing to count; any thread may read.
 */
final class SaturationCounts implements AutoCloseable {
  private static final VarHandle LONG = ValueLayout.JAVA_LONG.varHandle();
  private static final long PAGE = 4096; // what can be made visible to the device
  // Never freed: kernels of a lost context, which cannot be unregistered, may still write to it.
  private final MemorySegment counts = Arena.global().allocate(PAGE, PAGE);
  private final Pointer memory = Pointer.to(counts.asByteBuffer());
  private final DevicePointer mapped = new DevicePointer();

  SaturationCounts() {
    check(
        JCudaDriver.cuMemHostRegister(memory, PAGE, JCudaDriver.CU_MEMHOSTREGISTER_DEVICEMAP),
        "page-locking counters");
    check(JCudaDriver.cuMemHostGetDevicePointer(mapped, memory, 0), "mapping counters");
  }

  /** Where kernels count inputs of products with weights of that role. */
  long counter(WeightRole role) {
    return mapped.address() + offset(role);
  }

  private static long offset(WeightRole role) {
    return (long) Long.BYTES * role.ordinal();
  }

  /** So far; what runs may still add to it. */
  SaturatedInputs sum() {
    long attention = 0;
    long experts = 0;
    for (WeightRole role : WeightRole.values()) {
      long count = (long) LONG.getVolatile(counts, offset(role));
      switch (role) {
        case EXPERTS_GATE_UP, EXPERTS_DOWN -> experts += count;
        default -> attention += count;
      }
    }
    return new SaturatedInputs(attention, experts);
  }

  @Override
  public void close() {
    JCudaDriver.cuMemHostUnregister(memory);
  }
}
