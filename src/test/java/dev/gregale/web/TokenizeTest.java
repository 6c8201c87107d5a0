package dev.gregale.web;

import static dev.gregale.web.StubTokenizer.BOS;
import static dev.gregale.web.StubTokenizer.word;
import static org.assertj.core.api.Assertions.assertThat;

import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import org.junit.jupiter.api.Test;

/** vLLM's routes between text and token ids, and OpenAI's routes that are not there. */
class TokenizeTest extends WebTest {
  private static final int ONCE = word("▁Once");
  private static final int UPON = word("▁upon");

  @Test
  void textsAreTokenized() throws Exception {
    assertThat(tokenize("{\"model\":\"stub\",\"prompt\":\"Once upon\"}"))
        .isEqualTo(
            "{\"count\":3,\"max_model_len\":64,\"tokens\":[%d,%d,%d],\"token_strs\":null}"
                .formatted(BOS, ONCE, UPON));
    assertThat(
            tokenize(
                "{\"prompt\":\"Once upon\",\"add_special_tokens\":false,\"return_token_strs\":true}"))
        .isEqualTo(
            "{\"count\":2,\"max_model_len\":64,\"tokens\":[%d,%d],\"token_strs\":[\"▁Once\",\"▁upon\"]}"
                .formatted(ONCE, UPON));
  }

  @Test
  void conversationsAreTokenizedAsChatDoes() throws Exception {
    String messages = "{\"messages\":[{\"role\":\"user\",\"content\":\"Once\"}]";
    assertThat(tokenize(messages + "}")).contains("\"tokens\":[%d,%d]".formatted(ONCE, UPON));
    assertThat(tokenize(messages + ",\"add_generation_prompt\":false}"))
        .contains("\"tokens\":[%d,%d]".formatted(ONCE, word("▁")));
  }

  private String tokenize(String body) throws Exception {
    return accepted("/tokenize", body);
  }

  private String accepted(String path, String body) throws Exception {
    HttpResponse<String> response = send(post(path, body));
    assertThat(response.statusCode()).as(response.body()).isEqualTo(200);
    return response.body();
  }

  @Test
  void tokensAreDetokenized() throws Exception {
    assertThat(accepted("/detokenize", "{\"tokens\":[%d,%d,%d]}".formatted(BOS, ONCE, UPON)))
        .isEqualTo("{\"prompt\":\"<s> Once upon\"}");
    assertThat(accepted("/detokenize", "{\"tokens\":[]}")).isEqualTo("{\"prompt\":\"\"}");
  }

  @Test
  void badRequestsNameTheField() throws Exception {
    refused("/tokenize", "{}", "prompt", "prompt is missing; give a text, or messages");
    refused("/tokenize", "{\"prompt\":[1]}", "prompt", "prompt must be a string");
    refused("/tokenize", "{\"prompt\":\"a\",\"messages\":[]}", "prompt", "together");
    refused("/tokenize", "{\"messages\":[]}", "messages", "must not be an empty array");
    refused("/tokenize", "{\"prompt\":\"\\ud800\"}", "prompt", "surrogate");
    refused(
        "/tokenize",
        "{\"prompt\":\"a\",\"chat_template\":\"x\"}",
        "chat_template",
        "not supported");
    refused("/detokenize", "{}", "tokens", "tokens is missing");
    refused("/detokenize", "{\"tokens\":[1,320]}", "tokens", "tokens[1] is token id 320");
    refused("/detokenize", "{\"tokens\":[null]}", "tokens", "tokens[0] is token id -1");
    refused("/detokenize", "{\"tokens\":\"x\"}", "tokens", "tokens must be an array");
    assertThat(send(post("/tokenize", "{\"model\":\"x\",\"prompt\":\"a\"}")).statusCode())
        .isEqualTo(404);
  }

  private void refused(String path, String body, String param, String message) throws Exception {
    HttpResponse<String> response = send(post(path, body));
    assertThat(response.statusCode()).as(body).isEqualTo(400);
    assertThat(error(response).get("param").asString()).isEqualTo(param);
    assertThat(error(response).get("message").asString()).contains(message);
  }

  @Test
  void knownRoutesThatAreNotServedSaySo() throws Exception {
    for (String path :
        new String[] {
          "/v1/embeddings",
          "/v1/responses",
          "/v1/responses/r1",
          "/v1/images/generations",
          "/v1/audio/speech",
          "/v1/moderations",
          "/v1/files",
          "/v1/messages",
          "/v1/rerank"
        }) {
      for (HttpRequest request : new HttpRequest[] {post(path, "{"), request(path).build()}) {
        HttpResponse<String> response = send(request);
        assertThat(response.statusCode()).as(path).isEqualTo(501);
        assertThat(error(response).get("code").asString()).isEqualTo("not_implemented");
        assertThat(error(response).get("message").asString()).startsWith(path + " is not");
      }
    }
  }
}
