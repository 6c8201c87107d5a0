package dev.gregale.openai;

import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import org.jspecify.annotations.Nullable;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/** What holds for the events of a stream together, which no schema of one event can say. */
final class StreamRules {
  private static final List<String> SAME_IN_ALL = List.of("id", "object", "created", "model");

  private final String schema;
  private final Set<Integer> begun = new HashSet<>();
  private final Set<Integer> finished = new HashSet<>();
  private @Nullable JsonNode first;
  private boolean totals;
  private boolean failed;
  private boolean done;

  /**
   * @param schema of one event
   */
  StreamRules(String schema) {
    this.schema = schema;
  }

  /** What is wrong with the next event. */
  List<String> accept(String data) {
    if (done) {
      return List.of("comes after [DONE]");
    }
    if (data.equals("[DONE]")) {
      done = true;
      return failed || finished.equals(begun) ? List.of() : List.of("[DONE] before every choice");
    }
    if (failed || totals) {
      return List.of("is not [DONE], though an error or the totals went before");
    }
    failed = data.startsWith("{\"error\"");
    List<String> violations = OpenAiSchemas.violations(failed ? "error" : schema, data);
    return failed || !violations.isEmpty() ? violations : together(data);
  }

  private List<String> together(String data) {
    JsonNode chunk = JsonMapper.shared().readTree(data);
    JsonNode head = first == null ? chunk : first;
    first = head;
    List<String> violations = new ArrayList<>();
    for (String key : SAME_IN_ALL) {
      if (!chunk.get(key).equals(head.get(key))) {
        violations.add("has another " + key + " than the first event");
      }
    }
    if (chunk.has("usage") != head.has("usage")) {
      violations.add("usage is in some events only");
    }
    totals = chunk.get("choices").isEmpty();
    for (JsonNode choice : chunk.get("choices")) {
      int index = choice.get("index").asInt();
      begun.add(index);
      if (finished.contains(index)) {
        violations.add("choice " + index + " goes on after its finish_reason");
      }
      if (!choice.get("finish_reason").isNull()) {
        finished.add(index);
      }
    }
    return violations;
  }

  /** What is wrong with a stream that ends here. */
  List<String> end() {
    if (!done) {
      return List.of("the stream ends without [DONE]");
    }
    boolean withUsage = first != null && first.has("usage");
    return withUsage && !totals && !failed
        ? List.of("the stream ends without its totals")
        : List.of();
  }
}
