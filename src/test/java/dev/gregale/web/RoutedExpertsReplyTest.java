package dev.gregale.web;

import static org.assertj.core.api.Assertions.assertThat;

import dev.gregale.engine.EngineInfo;
import dev.gregale.engine.GenerationEvent;
import dev.gregale.engine.RoutingShape;
import dev.gregale.sampling.FinishReason;
import java.net.http.HttpResponse;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Base64;
import java.util.List;
import org.junit.jupiter.api.Test;
import reactor.core.publisher.Flux;
import tools.jackson.databind.JsonNode;

/** Experts in answers, as vLLM words them. The stub has 3 layers of 8 experts, 2 for each token. */
class RoutedExpertsReplyTest extends WebTest {
  private static final String CHAT =
      "\"model\":\"stub\",\"messages\":[{\"role\":\"user\",\"content\":\"Once\"}],\"max_tokens\":4";

  private JsonNode accepted(HttpResponse<String> response) {
    assertThat(response.statusCode()).as(response.body()).isEqualTo(200);
    return JSON.readTree(response.body());
  }

  private static byte[] file(JsonNode choice) {
    return Base64.getDecoder().decode(choice.get("routed_experts").asString());
  }

  private static String header(byte[] file) {
    assertThat(Arrays.copyOf(file, 8)).containsExactly(0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0);
    int length = ByteBuffer.wrap(file).order(ByteOrder.LITTLE_ENDIAN).getShort(8);
    assertThat((10 + length) % 64).isZero();
    String text = new String(file, 10, length, StandardCharsets.US_ASCII);
    assertThat(text).endsWith("\n");
    return text.strip();
  }

  private static byte[] data(byte[] file) {
    int length = ByteBuffer.wrap(file).order(ByteOrder.LITTLE_ENDIAN).getShort(8);
    return Arrays.copyOfRange(file, 10 + length, file.length);
  }

  /** As the stub gives them out: of the prompt, then token by token. */
  private static byte[] expected(int promptTokens, int outputTokens) {
    ByteBuffer ids = ByteBuffer.allocate((promptTokens + outputTokens - 1) * 6);
    for (int i = 0; i < promptTokens * 6; i++) {
      ids.put((byte) (i % 8));
    }
    for (int i = 0; i < (outputTokens - 1) * 6; i++) {
      ids.put((byte) (i % 6));
    }
    return ids.array();
  }

  @Test
  void aCompletionHasThemAsNumPyFile() throws Exception {
    JsonNode answer =
        accepted(
            complete(
                "{\"model\":\"stub\",\"prompt\":[[7,8,9],[5]],\"max_tokens\":4,"
                    + "\"return_routed_experts\":true}"));
    byte[] first = file(answer.at("/choices/0"));
    assertThat(header(first))
        .isEqualTo("{'descr': '|u1', 'fortran_order': False, 'shape': (6, 3, 2), }");
    assertThat(data(first)).isEqualTo(expected(3, 4));
    assertThat(data(file(answer.at("/choices/1")))).isEqualTo(expected(1, 4));
  }

  @Test
  void theEventsOfAStreamFollowEachOther() throws Exception {
    assertStream(
        "/v1/completions",
        "{\"model\":\"stub\",\"prompt\":[7,8,9],\"max_tokens\":4,\"stream\":true,"
            + "\"return_routed_experts\":true}",
        expected(3, 4));
  }

  @Test
  void aChatHasThemToo() throws Exception {
    JsonNode answer =
        accepted(
            send(post("/v1/chat/completions", "{" + CHAT + ",\"return_routed_experts\":true}")));
    byte[] whole = data(file(answer.at("/choices/0")));
    assertThat(whole).hasSizeGreaterThan(3 * 6);
    assertStream(
        "/v1/chat/completions",
        "{" + CHAT + ",\"stream\":true,\"return_routed_experts\":true}",
        whole);
  }

  private void assertStream(String path, String body, byte[] expected) throws Exception {
    HttpResponse<String> response = send(post(path, body));
    assertThat(response.statusCode()).as(response.body()).isEqualTo(200);
    List<byte[]> pieces = new ArrayList<>();
    for (String line : response.body().lines().filter(l -> l.startsWith("data: {")).toList()) {
      JsonNode choice = JSON.readTree(line.substring(6)).at("/choices/0");
      if (choice.has("routed_experts")) {
        pieces.add(data(file(choice)));
      }
    }
    assertThat(pieces).hasSize(4);
    ByteBuffer all = ByteBuffer.allocate(expected.length);
    pieces.forEach(all::put);
    assertThat(all.array()).isEqualTo(expected);
  }

  @Test
  void moreThanAnAnswerMayHoldAreRefused() throws Exception {
    EngineInfo all = StubEngine.INFO;
    engine.info =
        new EngineInfo(
            all.modelName(),
            all.createdEpochSeconds(),
            all.vocabSize(),
            all.maxModelLen(),
            all.maxSequencesPerRequest(),
            all.maxTokensPerRequest(),
            all.schedulingPolicy(),
            new RoutingShape(1 << 16, 8, 2)); // 32 tokens are 4 Mi ids
    String request =
        "{\"model\":\"stub\",\"prompt\":[[7],[8]],\"return_routed_experts\":true,\"max_tokens\":";
    engine.answer =
        asked ->
            Flux.just(
                new GenerationEvent.Finished(0, FinishReason.LENGTH, 1, 0, 15),
                new GenerationEvent.Finished(1, FinishReason.LENGTH, 1, 0, 15));
    assertThat(complete(request + "15}").statusCode()).isEqualTo(200);
    HttpResponse<String> refused = complete(request + "16}");
    assertThat(refused.statusCode()).isEqualTo(400);
    JsonNode error = JSON.readTree(refused.body()).get("error");
    assertThat(error.get("param").asString()).isEqualTo("return_routed_experts");
    assertThat(error.get("message").asString()).contains("up to 32 tokens").contains("may have 34");
  }

  @Test
  void nobodyGetsThemUnasked() throws Exception {
    for (String no :
        List.of("", ",\"return_routed_experts\":false", ",\"return_routed_experts\":null")) {
      JsonNode answer = accepted(complete("{\"model\":\"stub\",\"prompt\":[7]" + no + "}"));
      assertThat(answer.at("/choices/0").has("routed_experts")).isFalse();
      assertThat(engine.requests.take().params().returnRoutedExperts()).isFalse();
    }
  }
}
