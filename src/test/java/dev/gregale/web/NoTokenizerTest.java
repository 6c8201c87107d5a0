package dev.gregale.web;

import static org.assertj.core.api.Assertions.assertThat;

import java.net.http.HttpResponse;
import org.junit.jupiter.api.Test;
import org.springframework.boot.test.context.SpringBootTest;
import tools.jackson.databind.JsonNode;

/** A checkpoint without a tokenizer: token ids in, no text out. */
@SpringBootTest(
    classes = WebTestServer.class,
    webEnvironment = SpringBootTest.WebEnvironment.RANDOM_PORT)
class NoTokenizerTest extends WebTest {

  @Test
  void textIsRefusedWithTheReason() throws Exception {
    for (String prompt : new String[] {"\"Once\"", "[\"Once\"]"}) {
      HttpResponse<String> response = complete("{\"model\":\"stub\",\"prompt\":" + prompt + "}");
      assertThat(response.statusCode()).isEqualTo(400);
      JsonNode error = error(response);
      assertThat(error.get("param").asString()).isEqualTo("prompt");
      assertThat(error.get("message").asString())
          .isEqualTo(
              "This checkpoint has no tokenizer, so prompt cannot be text; give it as token ids");
    }
    HttpResponse<String> absent = complete("{\"model\":\"stub\"}");
    assertThat(error(absent).get("param").asString()).isEqualTo("prompt");
    HttpResponse<String> stop = complete("{\"model\":\"stub\",\"prompt\":[7],\"stop\":\"x\"}");
    assertThat(error(stop).get("param").asString()).isEqualTo("stop");
    HttpResponse<String> json =
        complete(
            "{\"model\":\"stub\",\"prompt\":[7],\"response_format\":{\"type\":\"json_object\"}}");
    assertThat(error(json).get("message").asString()).contains("response_format needs a tokenizer");
  }

  @Test
  void chatAndTokenizeSayWhatIsMissing() throws Exception {
    String messages = "{\"model\":\"stub\",\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]}";
    HttpResponse<String> chat = chat(messages);
    assertThat(chat.statusCode()).isEqualTo(400);
    assertThat(error(chat).get("message").asString())
        .isEqualTo(
            "This checkpoint has no tokenizer, so it cannot chat; give /v1/completions token ids");
    for (String body : new String[] {messages, "{\"prompt\":\"x\"}"}) {
      HttpResponse<String> tokenize = send(post("/tokenize", body));
      assertThat(tokenize.statusCode()).isEqualTo(400);
      assertThat(error(tokenize).get("message").asString()).contains("no tokenizer");
    }
    assertThat(send(post("/detokenize", "{\"tokens\":[1]}")).statusCode()).isEqualTo(400);
  }

  @Test
  void tokenIdsWork() throws Exception {
    HttpResponse<String> response =
        complete(
            "{\"model\":\"stub\",\"prompt\":[7,8],\"echo\":true,\"logprobs\":0,\"max_tokens\":0}");
    assertThat(response.statusCode()).isEqualTo(200);
    assertThat(JSON.readTree(response.body()).at("/choices/0").toString())
        .isEqualTo(
            "{\"text\":\"\",\"index\":0,\"logprobs\":{\"tokens\":[\"token_id:7\",\"token_id:8\"],"
                + "\"token_logprobs\":[null,-0.5],\"top_logprobs\":[null,{\"token_id:8\":-0.5}],"
                + "\"text_offset\":[0,0]},\"finish_reason\":\"length\"}");
  }
}
