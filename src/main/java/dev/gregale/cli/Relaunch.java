package dev.gregale.cli;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.management.ManagementFactory;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/**
 * Gives a plain {@code java -jar gregale.jar} the JVM flags that a manifest cannot carry: the
 * Vector API is an incubator module, which only the command line can add. Without it the CPU
 * backend would fall back to plain loops.
 */
public final class Relaunch {
  private static final String VECTOR_MODULE = "jdk.incubator.vector";
  private static final String MARK = "-Dgregale.relaunched=true";
  private static final List<String> FLAGS =
      List.of(
          "--add-modules=" + VECTOR_MODULE,
          "--enable-native-access=ALL-UNNAMED",
          "--sun-misc-unsafe-memory-access=allow");

  private Relaunch() {}

  /**
   * Returns at once if the Vector API is there. Else starts the same command with the flags: in
   * this very process where the system can replace its image (so that signals and the process id
   * stay), in a child otherwise. Does not return if that worked.
   *
   * @param mainClass what to start if this was no {@code java -jar}
   */
  public static void withVectorModule(Class<?> mainClass, String[] args) {
    if (ModuleLayer.boot().findModule(VECTOR_MODULE).isPresent()
        || Boolean.getBoolean("gregale.relaunched")) {
      return;
    }
    List<String> command = command(mainClass, args);
    try {
      if (System.getProperty("os.name").startsWith("Windows")) {
        System.exit(new ProcessBuilder(command).inheritIO().start().waitFor());
      }
      replaceProcess(command);
    } catch (IOException | InterruptedException e) {
      System.err.println("could not add the Vector API (" + e + "): going on without it");
    }
  }

  static List<String> command(Class<?> mainClass, String[] args) {
    List<String> command = new ArrayList<>();
    command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
    command.addAll(FLAGS);
    command.add(MARK);
    command.addAll(ManagementFactory.getRuntimeMXBean().getInputArguments());
    String classPath = System.getProperty("java.class.path");
    if (System.getProperty("sun.java.command", "").startsWith(classPath)) {
      command.addAll(List.of("-jar", classPath));
    } else {
      command.addAll(List.of("-cp", classPath, mainClass.getName()));
    }
    command.addAll(List.of(args));
    return command;
  }

  /** POSIX execv(path, argv); returns only if it failed. */
  private static void replaceProcess(List<String> command) throws IOException {
    System.out.flush();
    System.err.flush();
    Linker linker = Linker.nativeLinker();
    FunctionDescriptor signature =
        FunctionDescriptor.of(ValueLayout.JAVA_INT, ValueLayout.ADDRESS, ValueLayout.ADDRESS);
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment argv = arena.allocate(ValueLayout.ADDRESS, command.size() + 1L);
      for (int i = 0; i < command.size(); i++) {
        argv.setAtIndex(ValueLayout.ADDRESS, i, arena.allocateFrom(command.get(i)));
      }
      argv.setAtIndex(ValueLayout.ADDRESS, command.size(), MemorySegment.NULL);
      MemorySegment execv = linker.defaultLookup().findOrThrow("execv");
      int result =
          (int)
              linker
                  .downcallHandle(execv, signature)
                  .invokeExact(argv.getAtIndex(ValueLayout.ADDRESS, 0), argv);
      throw new IOException("execv returned " + result);
    } catch (IOException | RuntimeException | Error e) {
      throw e;
    } catch (Throwable e) {
      throw new IOException(e);
    }
  }
}
