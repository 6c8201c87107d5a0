package dev.gregale.server;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;

/** curl, which is cancelled by ending it. */
final class CurlClient implements ApiClient {
  private final String server;

  CurlClient(String server) throws Exception {
    assumeTrue(Programs.runs("curl", "--version"), "curl is not installed: not tested with it");
    this.server = server;
  }

  private Process start(Ask ask, boolean stream, String... options) throws IOException {
    List<String> command = new ArrayList<>(List.of("curl", "--silent", "--show-error"));
    command.addAll(List.of("--no-buffer", "--header", "Content-Type: application/json"));
    command.addAll(List.of(options));
    command.addAll(List.of("--data-binary", ask.json(stream), server + ask.path()));
    return new ProcessBuilder(command).redirectError(ProcessBuilder.Redirect.INHERIT).start();
  }

  private static String output(Process curl, int exitCode) throws Exception {
    String output = new String(curl.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    assertTrue(curl.waitFor(20, TimeUnit.SECONDS), "curl still runs");
    assertEquals(exitCode, curl.exitValue(), output);
    return output;
  }

  @Override
  public String complete(Ask ask) throws Exception {
    return ApiClient.text(output(start(ask, false), 0));
  }

  @Override
  public List<String> stream(Ask ask) throws Exception {
    Process curl = start(ask, true);
    List<String> pieces = JdkClient.pieces(curl.inputReader(), Integer.MAX_VALUE);
    var unused = output(curl, 0);
    return pieces;
  }

  @Override
  public void leave(Ask ask) throws Exception {
    Process curl = start(ask, true);
    var unused = JdkClient.pieces(curl.inputReader(), PIECES);
    curl.destroy();
    assertTrue(curl.waitFor(20, TimeUnit.SECONDS), "curl still runs");
  }

  @Override
  public Refusal refuse(Ask ask) throws Exception {
    String[] lines =
        output(start(ask, false, "--fail-with-body", "--write-out", "\n%{http_code}"), 22)
            .split("\n");
    return new Refusal(Integer.parseInt(lines[1]), "exit code 22", ApiClient.message(lines[0]));
  }
}
