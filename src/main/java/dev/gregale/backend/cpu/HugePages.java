package dev.gregale.backend.cpu;

import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import org.jspecify.annotations.Nullable;

/**
 * Zeroed native memory, on 2 MiB pages where Linux grants them: a weight matrix is read from end to
 * end for every token, and with 4 KiB pages that read stalls on address translation.
 */
final class HugePages {
  private static final long PAGE = 2L << 20;
  private static final int READ_WRITE = 0x3;
  private static final int PRIVATE_ANONYMOUS = 0x22;
  private static final int MADV_HUGEPAGE = 14;
  private static final @Nullable Calls CALLS = Calls.find();

  private HugePages() {}

  private record Calls(MethodHandle mmap, MethodHandle munmap, MethodHandle madvise) {

    static @Nullable Calls find() {
      if (!System.getProperty("os.name").equals("Linux")) {
        return null;
      }
      ValueLayout.OfLong word = ValueLayout.JAVA_LONG;
      ValueLayout.OfInt number = ValueLayout.JAVA_INT;
      return new Calls(
          call("mmap", FunctionDescriptor.of(word, word, word, number, number, number, word)),
          call("munmap", FunctionDescriptor.of(number, word, word)),
          call("madvise", FunctionDescriptor.of(number, word, word, number)));
    }

    private static MethodHandle call(String name, FunctionDescriptor type) {
      Linker linker = Linker.nativeLinker();
      return linker.downcallHandle(linker.defaultLookup().find(name).orElseThrow(), type);
    }
  }

  /**
   * Memory that lives as long as the arena, aligned to 64 bytes or better. Its pages are claimed
   * from the system only when first written.
   */
  static MemorySegment allocate(Arena arena, long bytes) {
    if (CALLS != null && bytes >= PAGE) {
      try {
        return map(CALLS, arena, bytes);
      } catch (RuntimeException | Error e) {
        throw e;
      } catch (Throwable e) {
        throw new IllegalStateException("mmap of " + bytes + " bytes", e);
      }
    }
    return arena.allocate(Math.max(1, bytes), 64);
  }

  private static MemorySegment map(Calls calls, Arena arena, long bytes) throws Throwable {
    long length = bytes + PAGE; // one page more, to align the start
    long start = (long) calls.mmap.invokeExact(0L, length, READ_WRITE, PRIVATE_ANONYMOUS, -1, 0L);
    if (start == -1) {
      throw new OutOfMemoryError("the system refused " + bytes + " bytes of native memory");
    }
    long aligned = (start + PAGE - 1) & -PAGE;
    int ignored = (int) calls.madvise.invokeExact(aligned, bytes, MADV_HUGEPAGE); // a wish only
    return MemorySegment.ofAddress(aligned)
        .reinterpret(bytes, arena, segment -> unmap(calls, start, length));
  }

  private static void unmap(Calls calls, long start, long length) {
    try {
      int ignored = (int) calls.munmap.invokeExact(start, length);
    } catch (Throwable e) {
      throw new IllegalStateException("munmap of " + length + " bytes", e);
    }
  }
}
