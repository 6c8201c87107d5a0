package dev.gregale.cli;

import dev.gregale.backend.Backend;
import dev.gregale.backend.BackendException;
import dev.gregale.backend.cpu.CpuBackend;
import dev.gregale.backend.cuda.CudaBackend;
import dev.gregale.backend.cuda.CudaUnavailableException;
import dev.gregale.backend.cuda.KernelLibrary;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;

@Command(
    name = "doctor",
    mixinStandardHelpOptions = true,
    description = "Tells what this machine offers, and what is missing.")
final class DoctorCommand implements Callable<Integer> {

  @Override
  public Integer call() {
    Runtime runtime = Runtime.getRuntime();
    print("Java", Runtime.version() + ", heap up to " + (runtime.maxMemory() >> 20) + " MiB");
    try (Backend cpu = CpuBackend.create(0)) {
      print(
          "CPU", cpu.description() + ", room for " + (cpu.freeBytes() >> 20) + " MiB of KV cache");
    }
    print("GPU", gpu());
    int images = KernelLibrary.fromClassPath().images().size();
    print(
        "CUDA kernels",
        images == 0
            ? "none: this build was made without nvcc; install the CUDA toolkit and build again"
            : images + " files packed");
    return 0;
  }

  private static String gpu() {
    try (Backend cuda = CudaBackend.open(0, false)) {
      return cuda.description() + ", " + (cuda.freeBytes() >> 20) + " MiB free";
    } catch (CudaUnavailableException | BackendException e) {
      return "none: " + e.getMessage();
    }
  }

  private static void print(String what, String found) {
    System.out.printf("%-14s %s%n", what, found);
  }
}
