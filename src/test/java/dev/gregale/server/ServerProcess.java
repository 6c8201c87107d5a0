package dev.gregale.server;

import dev.gregale.GregaleApplication;
import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import java.util.concurrent.TimeUnit;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.awaitility.Awaitility;
import org.awaitility.core.ConditionTimeoutException;
import org.awaitility.core.TerminalFailureException;
import tools.jackson.databind.json.JsonMapper;

/** The server as a process of its own, as an operator starts and ends it. */
final class ServerProcess implements AutoCloseable {
  private static final Pattern PORT = Pattern.compile("Netty started on port (\\d+)");
  private static final Duration START = Duration.ofSeconds(180);

  private final Process process;
  private final Path log;
  private final int port;
  private final HttpClient client =
      HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build();

  /** Returns once the server is ready. */
  ServerProcess(Path log, Map<String, String> environment, String... properties)
      throws IOException, InterruptedException {
    this.log = log;
    process = start(log, environment, properties);
    await(() -> PORT.matcher(log()).find());
    port = port(log());
    await(() -> get("/actuator/health/readiness").statusCode() == 200);
  }

  /** Returns once the server, still on its way up, has written something to its log. */
  ServerProcess(Path log, String written) throws IOException, InterruptedException {
    this.log = log;
    process = start(log, Map.of());
    await(() -> log().contains(written));
    port = 0;
  }

  private static Process start(Path log, Map<String, String> environment, String... properties)
      throws IOException {
    List<String> command = new ArrayList<>();
    command.add(jdkTool("java"));
    command.addAll(
        List.of(
            "--add-modules=jdk.incubator.vector",
            "--enable-native-access=ALL-UNNAMED",
            "--sun-misc-unsafe-memory-access=allow",
            "-Xmx512m",
            "-cp",
            System.getProperty("java.class.path"),
            GregaleApplication.class.getName(),
            "--server.port=0",
            "--gregale.engine.backend=cpu"));
    command.addAll(List.of(properties));
    ProcessBuilder builder = new ProcessBuilder(command).redirectErrorStream(true);
    builder.environment().putAll(environment);
    return builder.redirectOutput(log.toFile()).start();
  }

  private static String jdkTool(String name) {
    return Path.of(System.getProperty("java.home"), "bin", name).toString();
  }

  private static int port(String log) {
    Matcher found = PORT.matcher(log);
    if (!found.find()) {
      throw new IllegalArgumentException(log);
    }
    return Integer.parseInt(found.group(1));
  }

  private void await(Callable<Boolean> condition) throws IOException, InterruptedException {
    try {
      Awaitility.await()
          .atMost(START)
          .pollInterval(Duration.ofMillis(20))
          .failFast(() -> !process.isAlive())
          .until(condition);
    } catch (ConditionTimeoutException | TerminalFailureException e) {
      String stacks = process.isAlive() ? stacks() : "";
      process.destroyForcibly();
      throw new AssertionError("the server did not start:\n" + log() + stacks, e);
    }
  }

  /** What it does now. */
  private String stacks() throws IOException, InterruptedException {
    Path file = log.resolveSibling("stacks");
    new ProcessBuilder(jdkTool("jcmd"), Long.toString(process.pid()), "Thread.print")
        .redirectOutput(file.toFile())
        .start()
        .waitFor(START.toSeconds(), TimeUnit.SECONDS);
    return Files.readString(file);
  }

  String log() throws IOException {
    return Files.readString(log);
  }

  URI uri(String path) {
    return URI.create("http://127.0.0.1:" + port + path);
  }

  HttpClient client() {
    return client;
  }

  HttpRequest.Builder post(String path, Map<String, ?> body) {
    return HttpRequest.newBuilder(uri(path))
        .header("Content-Type", "application/json")
        .POST(HttpRequest.BodyPublishers.ofString(JsonMapper.shared().writeValueAsString(body)));
  }

  HttpResponse<String> get(String path) throws IOException, InterruptedException {
    return client.send(
        HttpRequest.newBuilder(uri(path)).build(), HttpResponse.BodyHandlers.ofString());
  }

  /** SIGTERM. */
  void terminate() {
    process.destroy();
  }

  /** The exit code; 128 + 15 after a SIGTERM. */
  int awaitExit(Duration atMost) throws InterruptedException {
    if (!process.waitFor(atMost.toMillis(), TimeUnit.MILLISECONDS)) {
      throw new AssertionError("the server still runs after " + atMost);
    }
    return process.exitValue();
  }

  @Override
  public void close() {
    client.shutdownNow();
    process.destroyForcibly();
  }
}
