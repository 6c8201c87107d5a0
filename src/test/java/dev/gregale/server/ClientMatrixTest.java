package dev.gregale.server;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gregale.openai.ReplyCheck;
import dev.gregale.server.ApiClient.Ask;
import dev.gregale.server.ApiClient.Refusal;
import java.net.http.HttpClient;
import java.net.http.HttpResponse;
import java.time.Duration;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.awaitility.Awaitility;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.springframework.beans.factory.annotation.Autowired;
import tools.jackson.databind.JsonNode;

/** Clients that people have, each against the whole server: whole, streaming, leaving, refused. */
class ClientMatrixTest extends RunningServer {
  private static final Duration AT_ONCE = Duration.ofSeconds(1);

  @Autowired private ReplyCheck replies;

  /** Opens a client. */
  private interface Opener {
    ApiClient open(String server) throws Exception;
  }

  /** The clients, with their own words for what is not found and for what is wrong. */
  enum Client {
    OPENAI_JAVA(OpenAiJavaClient::new, "NotFoundException", "BadRequestException"),
    LANGCHAIN4J(LangChain4jClient::new, "ModelNotFoundException", "InvalidRequestException"),
    JDK(JdkClient::new, "HTTP_1_1", "HTTP_1_1"),
    WEB_CLIENT(SpringWebClient::new, "NotFound", "BadRequest"),
    NPM_OPENAI(NodeClient::new, "NotFoundError", "BadRequestError"),
    CURL(CurlClient::new, "exit code 22", "exit code 22");

    private final Opener opener;
    private final String notFound;
    private final String badRequest;

    Client(Opener opener, String notFound, String badRequest) {
      this.opener = opener;
      this.notFound = notFound;
      this.badRequest = badRequest;
    }
  }

  private ApiClient open(Client client) throws Exception {
    return client.opener.open("http://127.0.0.1:" + port);
  }

  @ParameterizedTest
  @EnumSource
  void completesAndStreams(Client which) throws Exception {
    try (ApiClient client = open(which)) {
      for (boolean chat : new boolean[] {false, true}) {
        Ask ask = new Ask(chat, MODEL, 0, false);
        String expected = ApiClient.text(accepted(ask.body(false), ask.path()).toString());
        assertTrue(expected.length() > 16, expected);
        assertEquals(expected, client.complete(ask));
        List<String> pieces = client.stream(ask);
        assertEquals(expected, String.join("", pieces));
        assertTrue(pieces.stream().filter(piece -> !piece.isEmpty()).count() > 8, pieces::toString);
      }
    }
  }

  /** The server stops computing what nobody reads, and gives every block back. */
  @ParameterizedTest
  @EnumSource
  void leavesAStream(Client which) throws Exception {
    try (ApiClient client = open(which)) {
      for (boolean chat : new boolean[] {true, false}) {
        if (chat || which != Client.LANGCHAIN4J) {
          double before = cancelled();
          double generated = generated();
          client.leave(new Ask(chat, MODEL, 0, true));
          Awaitility.await()
              .atMost(AT_ONCE)
              .untilAsserted(
                  () -> {
                    assertEquals(0, gauge("gregale.requests.running"));
                    assertEquals(gauge("gregale.kv.blocks.total"), gauge("gregale.kv.blocks.free"));
                    assertEquals(1, cancelled() - before);
                  });
          assertTrue(generated() - generated < 3000, "it generated to the end");
        }
      }
    }
  }

  private double cancelled() {
    return metrics.get("gregale.requests.cancelled").tag("cause", "client").counter().count();
  }

  private double generated() {
    return metrics.get("gregale.tokens.generation").counter().count();
  }

  @ParameterizedTest
  @EnumSource
  void refusalsAreTheClientsOwnErrors(Client which) throws Exception {
    try (ApiClient client = open(which)) {
      for (boolean chat : new boolean[] {false, true}) {
        Refusal unknown = client.refuse(new Ask(chat, "gpt-9", 0, false));
        assertRefusal(404, which.notFound, "The model 'gpt-9' does not exist", unknown);
        Refusal hot = client.refuse(new Ask(chat, MODEL, 3, false));
        assertRefusal(400, which.badRequest, "temperature must be between 0 and 2", hot);
      }
    }
  }

  private static void assertRefusal(int status, String kind, String message, Refusal found) {
    assertEquals(status, found.status());
    assertEquals(kind, found.kind());
    assertTrue(found.message().contains(message), found.message());
  }

  /** 100 kB of text to the server with the offer of an upgrade, and more than 64 KiB back. */
  @Test
  void theJdkClientSendsAndReadsLargeBodies() {
    Map<String, Object> request = new HashMap<>();
    request.put("model", MODEL);
    request.put("prompt", "The wolf and the seven young kids went home. ".repeat(2300));
    request.put("truncate_prompt_tokens", 400);
    request.put("echo", true);
    request.put("logprobs", 5);
    request.put("max_tokens", 0);
    request.put("prompt_logprobs", 5);
    assertEquals(HttpClient.Version.HTTP_2, client.version());
    HttpResponse<String> answer = send(request, "/v1/completions").join();
    assertEquals(200, answer.statusCode(), answer.body());
    assertTrue(answer.body().length() > 1 << 16, answer.body().length() + " characters");
    JsonNode body = JSON.readTree(answer.body());
    assertEquals(400, body.at("/choices/0/logprobs/token_logprobs").size());
  }

  /** The check of every reply against the contract is in place, and counts events. */
  @Test
  void repliesAreChecked() {
    long before = replies.checked();
    Ask ask = new Ask(true, MODEL, 0, false);
    String body = send(ask.body(true), ask.path()).join().body();
    long events = body.split("\n\n").length;
    assertTrue(events > 8, body);
    assertEquals(events, replies.checked() - before);
  }
}
