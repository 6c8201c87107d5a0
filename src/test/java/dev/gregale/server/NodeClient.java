package dev.gregale.server;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.ArrayList;
import java.util.List;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/** The npm package "openai", through the script in {@code src/test/node}. */
final class NodeClient implements ApiClient {
  private static final Path SOURCE = Path.of("src/test/node");
  private static final Path FOLDER = Path.of("target/node");

  /** Tried once in a run of the tests: without a network it takes its time to fail. */
  private static final class Package {
    static final boolean IS_INSTALLED = install();
  }

  private final String server;
  private final List<Process> waiting = new ArrayList<>();

  NodeClient(String server) throws Exception {
    assumeTrue(
        Programs.runs("node", "--version"), "node is not installed: npm's openai is not tested");
    assumeTrue(
        Package.IS_INSTALLED,
        "npm ci failed in target/node (no npm, or no registry): npm's openai is not tested");
    Files.copy(
        SOURCE.resolve("client.mjs"),
        FOLDER.resolve("client.mjs"),
        StandardCopyOption.REPLACE_EXISTING);
    this.server = server;
  }

  /** Installs the packages of the lock file, once for each version of it. */
  private static boolean install() {
    Path lock = FOLDER.resolve("package-lock.json");
    Path wanted = SOURCE.resolve("package-lock.json");
    try {
      if (Files.exists(lock) && Files.mismatch(lock, wanted) < 0) {
        return true;
      }
      Files.createDirectories(FOLDER);
      Path manifest = FOLDER.resolve("package.json");
      Files.copy(SOURCE.resolve("package.json"), manifest, StandardCopyOption.REPLACE_EXISTING);
      Files.copy(wanted, lock, StandardCopyOption.REPLACE_EXISTING);
      if (Programs.runs(FOLDER, "npm", "ci", "--ignore-scripts", "--fetch-retries=0")) {
        return true;
      }
      Files.delete(lock); // so that the next run tries again
      return false;
    } catch (IOException | InterruptedException e) {
      throw new IllegalStateException("target/node cannot be made", e);
    }
  }

  private Process start(String action, Ask ask) throws IOException {
    return new ProcessBuilder("node", "client.mjs", server + "/v1", action, ask.json(false))
        .directory(FOLDER.toFile())
        .redirectError(ProcessBuilder.Redirect.INHERIT)
        .start();
  }

  private static JsonNode answer(Process node) throws IOException {
    String line = node.inputReader().readLine();
    if (line == null) {
      throw new IOException("the script said nothing");
    }
    return JsonMapper.shared().readTree(line);
  }

  @Override
  public String complete(Ask ask) throws Exception {
    return answer(start("complete", ask)).asString();
  }

  @Override
  public List<String> stream(Ask ask) throws Exception {
    return answer(start("stream", ask)).valueStream().map(JsonNode::asString).toList();
  }

  @Override
  public void leave(Ask ask) throws Exception {
    Process node = start("leave", ask);
    waiting.add(node);
    assertEquals(PIECES, answer(node).size());
    assertTrue(node.isAlive());
  }

  @Override
  public Refusal refuse(Ask ask) throws Exception {
    JsonNode error = answer(start("refuse", ask));
    return new Refusal(
        error.get("status").asInt(), error.get("kind").asString(), error.get("message").asString());
  }

  @Override
  public void close() {
    waiting.forEach(Process::destroy);
  }
}
