package dev.gregale.web;

import static dev.gregale.web.StubEngine.token;
import static dev.gregale.web.StubTokenizer.BOS;
import static dev.gregale.web.StubTokenizer.EOS;
import static dev.gregale.web.StubTokenizer.byteToken;
import static dev.gregale.web.StubTokenizer.word;
import static org.assertj.core.api.Assertions.assertThat;

import dev.gregale.engine.GenerationEvent;
import dev.gregale.engine.GenerationEvent.Finished;
import dev.gregale.engine.GenerationEvent.PromptScored;
import dev.gregale.engine.GenerationEvent.Tokens;
import dev.gregale.engine.GenerationRequest;
import dev.gregale.sampling.FinishReason;
import dev.gregale.sampling.SamplingParams;
import java.net.http.HttpResponse;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.junit.jupiter.api.Test;
import reactor.core.publisher.Flux;
import tools.jackson.databind.JsonNode;

/** Requests as the engine gets them, and answers to the letter. */
class CompletionReplyTest extends WebTest {

  @Test
  void jsonReplyIsExact() throws Exception {
    HttpResponse<String> response =
        complete("{\"model\":\"stub\",\"prompt\":\"Once upon\",\"max_tokens\":2}");
    assertThat(response.statusCode()).isEqualTo(200);
    assertThat(response.headers().firstValue("Content-Type")).hasValue("application/json");
    assertThat(normalised(response.body()))
        .isEqualTo(
            "{\"id\":\"ID\",\"object\":\"text_completion\",\"created\":NOW,\"model\":\"stub\","
                + "\"choices\":[{\"text\":\" time time\",\"index\":0,\"logprobs\":null,"
                + "\"finish_reason\":\"length\"}],"
                + "\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2,\"total_tokens\":5,"
                + "\"prompt_tokens_details\":{\"cached_tokens\":2}}}");
  }

  @Test
  void eachFormOfPromptReachesTheEngine() throws Exception {
    int once = word("▁Once");
    assertThat(promptsOf("\"Once\"")).containsExactly(new int[] {BOS, once});
    assertThat(promptsOf("[\"Once\",\"upon\"]"))
        .containsExactly(new int[] {BOS, once}, new int[] {BOS, word("▁upon")});
    assertThat(promptsOf("[7,8]")).containsExactly(new int[] {7, 8});
    assertThat(promptsOf("[[7],[8,9]]")).containsExactly(new int[] {7}, new int[] {8, 9});
    assertThat(promptsOf("null")).containsExactly(new int[] {BOS});
    assertThat(complete("{\"model\":\"stub\"}").statusCode()).isEqualTo(200);
    assertThat(engine.requests.take().prompts()).containsExactly(new int[] {BOS});
  }

  private List<int[]> promptsOf(String prompt) throws Exception {
    assertThat(complete("{\"model\":\"stub\",\"prompt\":" + prompt + "}").statusCode())
        .isEqualTo(200);
    return engine.requests.take().prompts();
  }

  @Test
  void absentAndNullFieldsGetTheDefaults() throws Exception {
    complete("{\"model\":\"stub\",\"prompt\":[7]}");
    SamplingParams defaults = SamplingParams.builder().build();
    assertThat(engine.requests.take().params()).isEqualTo(defaults);
    complete(
        """
        {"model":"stub","prompt":[7],"best_of":null,"echo":null,"frequency_penalty":null,
        "logit_bias":null,"logprobs":null,"max_tokens":null,"n":null,"presence_penalty":null,
        "seed":null,"stop":null,"stream":null,"stream_options":null,"suffix":null,
        "temperature":null,"top_p":null,"user":null,"top_k":null,"min_p":null,
        "repetition_penalty":null,"min_tokens":null,"ignore_eos":null,"stop_token_ids":null,
        "include_stop_str_in_output":null,"skip_special_tokens":null,"unknown":{"x":[1]}}""");
    GenerationRequest request = engine.requests.take();
    assertThat(request.params()).isEqualTo(defaults);
    assertThat(request.n()).isEqualTo(1);
  }

  @Test
  void everyFieldReachesTheEngine() throws Exception {
    HttpResponse<String> response =
        complete(
            """
            {"model":"stub","prompt":[7],"best_of":3,"echo":true,"frequency_penalty":-0.5,
            "logit_bias":{"5":-100,"6":1.5},"logprobs":5,"max_tokens":9,"n":2,
            "presence_penalty":2,"seed":-9,"stop":["a","b"],"temperature":0.5,"top_p":0.25,
            "user":"u","top_k":7,"min_p":0.125,"repetition_penalty":1.5,"min_tokens":3,
            "ignore_eos":true,"stop_token_ids":[4,5],"include_stop_str_in_output":true,
            "skip_special_tokens":false}""");
    assertThat(response.statusCode()).as(response.body()).isEqualTo(200);
    GenerationRequest request = engine.requests.take();
    assertThat(request.n()).isEqualTo(3);
    assertThat(request.requestId()).startsWith("cmpl-");
    assertThat(request.params())
        .isEqualTo(
            SamplingParams.builder()
                .maxTokens(9)
                .minTokens(3)
                .temperature(0.5f)
                .topP(0.25f)
                .topK(7)
                .minP(0.125f)
                .repetitionPenalty(1.5f)
                .presencePenalty(2)
                .frequencyPenalty(-0.5f)
                .logitBias(Map.of(5, -100f, 6, 1.5f))
                .seed(-9L)
                .stop(List.of("a", "b"))
                .stopTokenIds(Set.of(4, 5))
                .ignoreEos(true)
                .includeStopStrInOutput(true)
                .skipSpecialTokens(false)
                .logprobs(5)
                .promptLogprobs(5)
                .build());
  }

  @Test
  void limitsThemselvesAreAllowed() throws Exception {
    String ids = "7,".repeat(63) + "7";
    assertThat(
            complete("{\"model\":\"stub\",\"max_tokens\":0,\"prompt\":[" + ids + "]}").statusCode())
        .isEqualTo(200);
    assertThat(
            complete("{\"model\":\"stub\",\"n\":16,\"max_tokens\":25,\"prompt\":[7]}").statusCode())
        .isEqualTo(200);
    engine.requests.clear();
    complete("{\"model\":\"stub\",\"temperature\":0,\"top_p\":0,\"top_k\":-1,\"stop\":\"x\"}");
    SamplingParams params = engine.requests.take().params();
    assertThat(params.temperature()).isZero();
    assertThat(params.topP()).isPositive();
    assertThat(params.topK()).isZero();
    assertThat(params.stop()).containsExactly("x");
  }

  @Test
  void choicesAreOrderedByPrompt() throws Exception {
    engine.answer =
        request ->
            Flux.just(
                say(3, "3"), end(3), say(0, "0"), say(2, "2"), end(2), end(0), say(1, "1"), end(1));
    JsonNode reply = reply("{\"model\":\"stub\",\"prompt\":[[7],[8,9]],\"n\":2}");
    for (int i = 0; i < 4; i++) {
      assertThat(reply.get("choices").get(i).get("text").asString()).isEqualTo("" + i);
      assertThat(reply.get("choices").get(i).get("index").asInt()).isEqualTo(i);
    }
    assertThat(reply.get("usage").toString())
        .isEqualTo(
            "{\"prompt_tokens\":3,\"completion_tokens\":4,\"total_tokens\":7,"
                + "\"prompt_tokens_details\":{\"cached_tokens\":4}}"); // 1 and 3 of 1, 2, 3, 4
  }

  @Test
  void bestOfPicksTheHighestMean() throws Exception {
    engine.answer =
        request -> {
          assertThat(request.params().logprobs()).isZero();
          return Flux.just(
              new Tokens(0, "low", List.of(token(7, -3), token(7, -1))),
              new Tokens(1, "long", List.of(token(7, -1), token(7, -1), token(7, -1))),
              new Tokens(2, "high", List.of(token(7, -0.5f))),
              end(0),
              end(1),
              end(2));
        };
    JsonNode reply = reply("{\"model\":\"stub\",\"prompt\":[7],\"n\":2,\"best_of\":3}");
    assertThat(reply.get("choices").toString())
        .isEqualTo(
            "[{\"text\":\"high\",\"index\":0,\"logprobs\":null,\"finish_reason\":\"stop\"},"
                + "{\"text\":\"long\",\"index\":1,\"logprobs\":null,\"finish_reason\":\"stop\"}]");
    assertThat(reply.get("usage").get("completion_tokens").asInt()).isEqualTo(3);
  }

  @Test
  void echoWithLogprobsScoresThePrompt() throws Exception {
    engine.answer =
        request -> {
          assertThat(request.params().maxTokens()).isZero();
          assertThat(request.params().promptLogprobs()).isEqualTo(1);
          return Flux.just(
              new PromptScored(
                  0,
                  List.of(
                      token(BOS, Float.NaN),
                      token(word("▁Once"), -1.5f, word("▁a"), -0.25f),
                      token(word("▁upon"), -0.125f, word("▁upon"), -0.125f))),
              new Finished(0, FinishReason.LENGTH, 3, 0, 0));
        };
    JsonNode reply =
        reply(
            "{\"model\":\"stub\",\"prompt\":\"Once upon\",\"echo\":true,\"logprobs\":1,"
                + "\"max_tokens\":0}");
    assertThat(reply.get("choices").toString())
        .isEqualTo(
            "[{\"text\":\"Once upon\",\"index\":0,\"logprobs\":{"
                + "\"tokens\":[\"<s>\",\"Once\",\" upon\"],"
                + "\"token_logprobs\":[null,-1.5,-0.125],"
                + "\"top_logprobs\":[null,{\"a\":-0.25,\"Once\":-1.5},{\" upon\":-0.125}],"
                + "\"text_offset\":[0,0,4]},\"finish_reason\":\"length\"}]");
    assertThat(reply.get("usage").toString())
        .isEqualTo(
            "{\"prompt_tokens\":3,\"completion_tokens\":0,\"total_tokens\":3,"
                + "\"prompt_tokens_details\":{\"cached_tokens\":0}}");
  }

  @Test
  void logprobsOfACompletionBeginBehindThePrompt() throws Exception {
    engine.answer =
        request ->
            Flux.just(
                new Tokens(0, " time", List.of(token(word("▁time"), -1, word("▁a"), -0.5f))),
                new Tokens(0, "", List.of(token(byteToken(0xC3), -0.1f))),
                new Tokens(0, "é", List.of(token(byteToken(0xA9), Float.NEGATIVE_INFINITY))),
                new Tokens(0, "", List.of(token(EOS, -0.2f))),
                end(0));
    JsonNode reply = reply("{\"model\":\"stub\",\"prompt\":\"Once\",\"logprobs\":1}");
    assertThat(reply.get("choices").get(0).toString())
        .isEqualTo(
            "{\"text\":\" timeé\",\"index\":0,\"logprobs\":{"
                + "\"tokens\":[\" time\",\"bytes:\\\\xc3\",\"bytes:\\\\xa9\",\"</s>\"],"
                + "\"token_logprobs\":[-1.0,-0.1,-9999.0,-0.2],"
                + "\"top_logprobs\":[{\" a\":-0.5,\" time\":-1.0},{\"bytes:\\\\xc3\":-0.1},"
                + "{\"bytes:\\\\xa9\":-9999.0},{\"</s>\":-0.2}],"
                + "\"text_offset\":[4,9,10,10]},\"finish_reason\":\"stop\"}");
  }

  @Test
  void tokenIdsAreReturnedOnRequest() throws Exception {
    int time = word("▁time");
    String request =
        "{\"model\":\"stub\",\"prompt\":[7,8],\"max_tokens\":2,\"return_token_ids\":true";
    assertThat(reply(request + "}").at("/choices/0").toString())
        .isEqualTo(
            "{\"text\":\" time time\",\"index\":0,\"logprobs\":null,\"finish_reason\":\"length\","
                + "\"prompt_token_ids\":[7,8],\"token_ids\":[%d,%d]}".formatted(time, time));
    String[] frames = complete(request + ",\"stream\":true}").body().split("\n\n");
    assertThat(frames[0])
        .endsWith("null,\"prompt_token_ids\":[7,8],\"token_ids\":[" + time + "]}]}");
    assertThat(frames[1]).endsWith("null,\"token_ids\":[" + time + "]}]}");
    assertThat(frames[2]).endsWith("\"length\",\"token_ids\":[]}]}");
  }

  @Test
  void promptLogprobsAreVllms() throws Exception {
    JsonNode choice =
        reply(
                "{\"model\":\"stub\",\"prompt\":[7,%d],\"max_tokens\":1,\"prompt_logprobs\":0}"
                    .formatted(word("▁time")))
            .at("/choices/0");
    assertThat(choice.get("logprobs").isNull()).isTrue();
    assertThat(choice.get("text").asString()).isEqualTo(" time");
    assertThat(choice.get("prompt_logprobs").toString())
        .isEqualTo(
            "[null,{\"%d\":{\"logprob\":-0.5,\"rank\":null,\"decoded_token\":\" time\"}}]"
                .formatted(word("▁time")));
    assertThat(engine.requests.take().params().promptLogprobs()).isZero();
  }

  @Test
  void promptsAreTruncatedAtTheirBeginning() throws Exception {
    assertThat(promptsOf("[7,8,9],\"truncate_prompt_tokens\":2")).containsExactly(new int[] {8, 9});
    assertThat(promptsOf("\"Once upon a\",\"truncate_prompt_tokens\":2"))
        .containsExactly(new int[] {BOS, word("▁a")});
    assertThat(
            promptsOf("\"Once upon a\",\"truncate_prompt_tokens\":2,\"add_special_tokens\":false"))
        .containsExactly(new int[] {word("▁upon"), word("▁a")});
    String ids = "7,".repeat(99) + "8";
    assertThat(promptsOf("[" + ids + "],\"truncate_prompt_tokens\":-1,\"max_tokens\":62"))
        .containsExactly(new int[] {7, 8});
    JsonNode echo =
        reply(
            "{\"model\":\"stub\",\"prompt\":\"Once upon a\",\"truncate_prompt_tokens\":3,"
                + "\"echo\":true,\"max_tokens\":0}");
    assertThat(echo.at("/choices/0/text").asString()).isEqualTo("upon a");
  }

  private JsonNode reply(String body) throws Exception {
    HttpResponse<String> response = complete(body);
    assertThat(response.statusCode()).as(response.body()).isEqualTo(200);
    return JSON.readTree(response.body());
  }

  private static GenerationEvent say(int index, String text) {
    return new Tokens(index, text, List.of(token(7, Float.NaN)));
  }

  private static GenerationEvent end(int index) {
    return new Finished(index, FinishReason.STOP, 4, index + 1, 1);
  }
}
