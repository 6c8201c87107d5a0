package dev.gregale.web;

import static org.assertj.core.api.Assertions.assertThat;

import dev.gregale.engine.EngineInfo;
import dev.gregale.engine.SchedulingPolicy;
import java.net.http.HttpResponse;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** A server by priority; one that serves as requests come: {@link BadCompletionTest}. */
class PriorityFieldTest extends WebTest {
  private static final List<String> BODIES =
      List.of("\"prompt\":[7]", "\"messages\":[{\"role\":\"user\",\"content\":\"Once\"}]");

  @BeforeEach
  void serveByPriority() {
    EngineInfo fcfs = StubEngine.INFO;
    engine.info =
        new EngineInfo(
            fcfs.modelName(),
            fcfs.createdEpochSeconds(),
            fcfs.vocabSize(),
            fcfs.maxModelLen(),
            fcfs.maxSequencesPerRequest(),
            fcfs.maxTokensPerRequest(),
            SchedulingPolicy.PRIORITY,
            fcfs.routing());
  }

  @AfterEach
  void serveInOrder() {
    engine.info = StubEngine.INFO;
  }

  @Test
  void thePriorityReachesTheEngine() throws Exception {
    for (String body : BODIES) {
      for (int priority : new int[] {Integer.MIN_VALUE, -1, 0, 3}) {
        assertThat(answer(body + ",\"priority\":" + priority).statusCode()).isEqualTo(200);
        assertThat(engine.requests.take().priority()).isEqualTo(priority);
      }
      for (String none : List.of("", ",\"priority\":null")) {
        assertThat(answer(body + none).statusCode()).isEqualTo(200);
        assertThat(engine.requests.take().priority()).isZero();
      }
    }
  }

  @Test
  void whatIsNoWholeNumberIsRefused() throws Exception {
    for (String body : BODIES) {
      for (String priority : List.of("\"high\"", "1.5", "99999999999", "[1]")) {
        HttpResponse<String> answer = answer(body + ",\"priority\":" + priority);
        assertThat(answer.statusCode()).as(priority).isEqualTo(400);
        assertThat(error(answer).get("param").asString()).isEqualTo("priority");
      }
    }
  }

  private HttpResponse<String> answer(String fields) throws Exception {
    String body = "{\"model\":\"stub\"," + fields + "}";
    return fields.contains("messages") ? chat(body) : complete(body);
  }
}
