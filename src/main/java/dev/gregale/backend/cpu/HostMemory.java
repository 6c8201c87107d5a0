package dev.gregale.backend.cpu;

import com.sun.management.OperatingSystemMXBean;
import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.nio.file.Files;
import java.nio.file.Path;

/** How much memory this machine, or the container we run in, can still give. */
final class HostMemory {
  private HostMemory() {}

  /** Bytes; memory that only caches files counts as available. */
  static long available() {
    OperatingSystemMXBean system = ManagementFactory.getPlatformMXBean(OperatingSystemMXBean.class);
    long free = system.getFreeMemorySize();
    Path meminfo = Path.of("/proc/meminfo");
    if (!Files.isReadable(meminfo)) {
      return free;
    }
    try {
      // The bean knows a container's limit; the kernel's file knows what can be reclaimed.
      long limit = system.getTotalMemorySize();
      for (String line : Files.readAllLines(meminfo)) {
        if (line.startsWith("MemAvailable:")) {
          return Math.min(limit, Long.parseLong(line.replaceAll("[^0-9]", "")) * 1024);
        }
      }
      return free;
    } catch (IOException e) {
      return free;
    }
  }
}
