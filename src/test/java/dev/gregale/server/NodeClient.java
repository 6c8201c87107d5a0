package dev.gregale.server;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/** The npm package "openai", through a script. */
final class NodeClient implements ApiClient {
  private final String server;
  private final List<Process> waiting = new ArrayList<>();

  NodeClient(String server) throws Exception {
    this.server = server;
    script("complete", "{}"); // or the test is skipped
  }

  private ProcessBuilder script(String action, String json) throws Exception {
    return NodePackages.script("client.mjs", "npm's openai", server + "/v1", action, json);
  }

  private Process start(String action, Ask ask) throws Exception {
    return script(action, ask.json(false)).redirectError(ProcessBuilder.Redirect.INHERIT).start();
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
