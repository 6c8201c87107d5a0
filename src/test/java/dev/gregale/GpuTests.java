package dev.gregale;

import static org.junit.platform.engine.discovery.DiscoverySelectors.selectClass;
import static org.junit.platform.engine.discovery.DiscoverySelectors.selectPackage;

import java.io.PrintWriter;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import org.junit.platform.engine.DiscoverySelector;
import org.junit.platform.engine.TestExecutionResult;
import org.junit.platform.engine.discovery.ClassNameFilter;
import org.junit.platform.launcher.LauncherDiscoveryRequest;
import org.junit.platform.launcher.TagFilter;
import org.junit.platform.launcher.TestExecutionListener;
import org.junit.platform.launcher.TestIdentifier;
import org.junit.platform.launcher.core.LauncherDiscoveryRequestBuilder;
import org.junit.platform.launcher.core.LauncherFactory;
import org.junit.platform.launcher.listeners.SummaryGeneratingListener;

/**
 * Runs the tests tagged {@code gpu} where there is no Maven: all, or the classes named. They are
 * called CudaSomethingTest, so that no other is loaded and they need JUnit and AssertJ alone beside
 * what the application needs. Exits with 1 if one fails or none ran.
 */
public final class GpuTests {

  private GpuTests() {}

  public static void main(String[] classes) {
    List<DiscoverySelector> selectors = new ArrayList<>();
    for (String name : classes) {
      selectors.add(selectClass("dev.gregale." + name));
    }
    if (selectors.isEmpty()) {
      selectors.add(selectPackage("dev.gregale"));
    }
    LauncherDiscoveryRequest request =
        LauncherDiscoveryRequestBuilder.request()
            .selectors(selectors)
            .filters(
                TagFilter.includeTags("gpu"),
                ClassNameFilter.includeClassNamePatterns(".*\\.Cuda\\w+Test"))
            .build();
    SummaryGeneratingListener summary = new SummaryGeneratingListener();
    LauncherFactory.create().execute(request, summary, new Progress());
    PrintWriter out = new PrintWriter(System.out, true, StandardCharsets.UTF_8);
    summary.getSummary().printFailuresTo(out, 12);
    summary.getSummary().printTo(out);
    boolean failed =
        summary.getSummary().getTotalFailureCount() > 0
            || summary.getSummary().getTestsSucceededCount() == 0;
    System.exit(failed ? 1 : 0);
  }

  /** A line per test with its time. */
  private static final class Progress implements TestExecutionListener {
    private long start;

    @Override
    public void executionStarted(TestIdentifier test) {
      start = System.nanoTime();
    }

    @Override
    public void executionFinished(TestIdentifier test, TestExecutionResult result) {
      if (test.isTest()) {
        System.out.printf(
            "%-10s %6d ms  %s%n",
            result.getStatus(), (System.nanoTime() - start) / 1_000_000, test.getUniqueId());
      }
    }
  }
}
