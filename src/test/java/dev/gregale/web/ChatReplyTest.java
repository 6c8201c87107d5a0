package dev.gregale.web;

import static dev.gregale.web.StubEngine.token;
import static dev.gregale.web.StubTokenizer.BOS;
import static dev.gregale.web.StubTokenizer.EOS;
import static dev.gregale.web.StubTokenizer.byteToken;
import static dev.gregale.web.StubTokenizer.word;
import static org.assertj.core.api.Assertions.assertThat;

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

/** Chat: requests as the engine gets them, and answers to the letter. */
class ChatReplyTest extends WebTest {
  private static final String HEAD =
      "{\"id\":\"ID\",\"object\":\"chat.completion\",\"created\":NOW,\"model\":\"stub\",";
  private static final String CHUNK =
      "data: {\"id\":\"ID\",\"object\":\"chat.completion.chunk\",\"created\":NOW,\"model\":\"stub\",";

  private static String ask(String fields) {
    return "{\"model\":\"stub\",\"messages\":[{\"role\":\"user\",\"content\":\"Once\"}]"
        + fields
        + "}";
  }

  private static String delta(String delta, String finishReason, String rest) {
    return CHUNK
        + "\"choices\":[{\"index\":0,\"delta\":"
        + delta
        + ",\"logprobs\":null,\"finish_reason\":"
        + finishReason
        + "}]"
        + rest
        + "}\n\n";
  }

  @Test
  void jsonReplyIsExact() throws Exception {
    HttpResponse<String> response = chat(ask(",\"max_completion_tokens\":2"));
    assertThat(response.statusCode()).as(response.body()).isEqualTo(200);
    assertThat(response.headers().firstValue("Content-Type")).hasValue("application/json");
    assertThat(normalised(response.body()))
        .isEqualTo(
            HEAD
                + "\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\","
                + "\"content\":\" time time\",\"refusal\":null},\"logprobs\":null,"
                + "\"finish_reason\":\"length\"}],"
                + "\"usage\":{\"prompt_tokens\":2,\"completion_tokens\":2,\"total_tokens\":4,"
                + "\"prompt_tokens_details\":{\"cached_tokens\":1}}}");
    assertThat(engine.requests.take().requestId()).startsWith("chatcmpl-");
  }

  @Test
  void streamIsExact() throws Exception {
    HttpResponse<String> response = chat(ask(",\"max_tokens\":2,\"stream\":true"));
    assertThat(response.headers().firstValue("Content-Type"))
        .hasValue("text/event-stream;charset=UTF-8");
    assertThat(normalised(response.body()))
        .isEqualTo(
            delta("{\"role\":\"assistant\",\"content\":\"\"}", "null", "")
                + delta("{\"content\":\" time\"}", "null", "")
                + delta("{\"content\":\" time\"}", "null", "")
                + delta("{}", "\"length\"", "")
                + "data: [DONE]\n\n");
  }

  @Test
  void streamWithUsageIsExact() throws Exception {
    String options = ",\"max_tokens\":1,\"stream\":true,\"stream_options\":{\"include_usage\":true";
    String none = ",\"usage\":null";
    String end =
        CHUNK
            + "\"choices\":[],\"usage\":{\"prompt_tokens\":2,\"completion_tokens\":1,"
            + "\"total_tokens\":3,\"prompt_tokens_details\":{\"cached_tokens\":1}}}\n\ndata: [DONE]\n\n";
    assertThat(normalised(chat(ask(options + "}")).body()))
        .isEqualTo(
            delta("{\"role\":\"assistant\",\"content\":\"\"}", "null", none)
                + delta("{\"content\":\" time\"}", "null", none)
                + delta("{}", "\"length\"", none)
                + end);
    String one = ",\"usage\":{\"prompt_tokens\":2,\"completion_tokens\":1,\"total_tokens\":3}";
    assertThat(normalised(chat(ask(options + ",\"continuous_usage_stats\":true}")).body()))
        .isEqualTo(
            delta(
                    "{\"role\":\"assistant\",\"content\":\"\"}",
                    "null",
                    one.replace("1", "0").replace("3", "2"))
                + delta("{\"content\":\" time\"}", "null", one)
                + delta("{}", "\"length\"", one)
                + end);
  }

  @Test
  void everyChoiceOfAStreamOpensAndEnds() throws Exception {
    String body = chat(ask(",\"max_tokens\":3,\"n\":3,\"stream\":true")).body();
    for (int i = 0; i < 3; i++) {
      String index = "\"index\":" + i + ",";
      assertThat(body.split(index + "\"delta\":\\{\"role\":\"assistant\"", -1)).hasSize(2);
      assertThat(body.split(index + "\"delta\":\\{\"content\":\" time\"", -1)).hasSize(4);
      assertThat(body.split(index + "\"delta\":\\{},", -1)).hasSize(2);
    }
  }

  @Test
  void messagesGoThroughTheTemplateUntouched() throws Exception {
    // The template puts a space behind each turn, and "upon" at the end.
    assertThat(promptOf(ask(""))).containsExactly(word("▁Once"), word("▁upon"));
    assertThat(promptOf(ask(",\"add_generation_prompt\":false")))
        .containsExactly(word("▁Once"), word("▁"));
    assertThat(promptOf(ask(",\"add_special_tokens\":true")))
        .containsExactly(BOS, word("▁Once"), word("▁upon"));
    String parts =
        "{\"model\":\"stub\",\"messages\":[{\"role\":\"system\",\"content\":[\"a\","
            + "{\"type\":\"text\",\"text\":\"time\"}]},{\"role\":\"assistant\",\"content\":\"upon\","
            + "\"tool_calls\":null,\"refusal\":null,\"name\":\"x\"}]}";
    assertThat(promptOf(parts))
        .startsWith(word("▁a"), byteToken('\n'))
        .endsWith(word("▁upon"), word("▁upon"));
    assertThat(promptOf(ask("").replace("Once", "{{ 7*7 }}")))
        .startsWith(word("▁"), byteToken('{'), byteToken('{'));
  }

  private int[] promptOf(String body) throws Exception {
    HttpResponse<String> response = chat(body);
    assertThat(response.statusCode()).as(response.body()).isEqualTo(200);
    return engine.requests.take().prompts().getFirst();
  }

  @Test
  void absentFieldsGetTheDefaults() throws Exception {
    chat(ask(""));
    GenerationRequest request = engine.requests.take();
    assertThat(request.n()).isEqualTo(1);
    assertThat(request.params()).isEqualTo(SamplingParams.builder().maxTokens(64).build());
    chat(ask(",\"n\":16"));
    assertThat(engine.requests.take().params().maxTokens()).isEqualTo(25);
  }

  @Test
  void everyFieldReachesTheEngine() throws Exception {
    HttpResponse<String> response =
        chat(
            ask(
                """
                ,"frequency_penalty":-0.5,"logit_bias":{"5":-100},"logprobs":true,"top_logprobs":20,
                "max_completion_tokens":9,"max_tokens":7,"n":2,"presence_penalty":2,"seed":-9,
                "stop":["a","b"],"temperature":0.5,"top_p":0.25,"top_k":7,"min_p":0.125,
                "repetition_penalty":1.5,"no_repeat_ngram_size":3,"min_tokens":3,"ignore_eos":true,
                "stop_token_ids":[4,5],"include_stop_str_in_output":true,
                "skip_special_tokens":false,"prompt_logprobs":3,
                "tools":[],"tool_choice":"none","response_format":{"type":"text"},
                "modalities":["text"],"metadata":{"a":"b"},"store":true,"user":"u",
                "service_tier":"auto","reasoning_effort":"low","parallel_tool_calls":true,
                "safety_identifier":"s","verbosity":"low","prediction":null,"unknown":[{}]"""));
    assertThat(response.statusCode()).as(response.body()).isEqualTo(200);
    GenerationRequest request = engine.requests.take();
    assertThat(request.n()).isEqualTo(2);
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
                .noRepeatNgramSize(3)
                .logitBias(Map.of(5, -100f))
                .seed(-9L)
                .stop(List.of("a", "b"))
                .stopTokenIds(Set.of(4, 5))
                .ignoreEos(true)
                .includeStopStrInOutput(true)
                .skipSpecialTokens(false)
                .logprobs(20)
                .promptLogprobs(3)
                .build());
  }

  private void answerWithScores() {
    engine.answer =
        request ->
            Flux.just(
                new Tokens(0, " time", List.of(token(word("▁time"), -1, word("▁a"), -0.5f))),
                new Tokens(0, "", List.of(token(byteToken(0xC3), Float.NEGATIVE_INFINITY))),
                new Tokens(0, "é", List.of(token(EOS, -0.25f))),
                new Finished(0, FinishReason.STOP, 2, 0, 3));
  }

  private static final String TIME =
      "{\"token\":\" time\",\"logprob\":-1.0,\"bytes\":[32,116,105,109,101],\"top_logprobs\":["
          + "{\"token\":\" a\",\"logprob\":-0.5,\"bytes\":[32,97]},"
          + "{\"token\":\" time\",\"logprob\":-1.0,\"bytes\":[32,116,105,109,101]}]}";
  private static final String LEAD =
      "{\"token\":\"bytes:\\\\xc3\",\"logprob\":-9999.0,\"bytes\":[195],\"top_logprobs\":[]}";
  private static final String END =
      "{\"token\":\"</s>\",\"logprob\":-0.25,\"bytes\":[60,47,115,62],\"top_logprobs\":[]}";

  @Test
  void logprobsAreExact() throws Exception {
    answerWithScores();
    String body = chat(ask(",\"logprobs\":true,\"top_logprobs\":2")).body();
    assertThat(JSON.readTree(body).at("/choices/0/logprobs").toString())
        .isEqualTo("{\"content\":[" + TIME + "," + LEAD + "," + END + "],\"refusal\":null}");
  }

  @Test
  void logprobsAreStreamedWithTheirTokens() throws Exception {
    answerWithScores();
    String[] frames = chat(ask(",\"logprobs\":true,\"stream\":true")).body().split("\n\n");
    assertThat(frames).hasSize(6);
    assertThat(choice(frames[0]).toString())
        .isEqualTo(
            "{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},"
                + "\"logprobs\":null,\"finish_reason\":null}");
    assertThat(choice(frames[2]).toString())
        .isEqualTo(
            "{\"index\":0,\"delta\":{\"content\":\"\"},\"logprobs\":{\"content\":["
                + LEAD
                + "],\"refusal\":null},\"finish_reason\":null}");
    assertThat(choice(frames[4]).toString())
        .isEqualTo("{\"index\":0,\"delta\":{},\"logprobs\":null,\"finish_reason\":\"stop\"}");
  }

  private static JsonNode choice(String frame) {
    return JSON.readTree(frame.substring("data: ".length())).at("/choices/0");
  }

  @Test
  void tokenIdsAndPromptLogprobsAreReportedOnRequest() throws Exception {
    engine.answer =
        request ->
            Flux.just(
                new PromptScored(
                    0,
                    List.of(
                        token(word("▁Once"), Float.NaN),
                        token(word("▁upon"), -1.5f, word("▁a"), -0.25f))),
                new Tokens(0, " time", List.of(token(word("▁time"), Float.NaN))),
                new Finished(0, FinishReason.STOP, 2, 0, 1));
    int once = word("▁Once");
    int upon = word("▁upon");
    int a = word("▁a");
    JsonNode reply =
        JSON.readTree(chat(ask(",\"return_token_ids\":true,\"prompt_logprobs\":1")).body());
    assertThat(reply.get("prompt_token_ids").toString()).isEqualTo("[" + once + "," + upon + "]");
    assertThat(reply.at("/choices/0/token_ids").toString()).isEqualTo("[" + word("▁time") + "]");
    assertThat(reply.get("prompt_logprobs").toString())
        .isEqualTo(
            ("[null,{\"%d\":{\"logprob\":-1.5,\"rank\":null,\"decoded_token\":\" upon\"},"
                    + "\"%d\":{\"logprob\":-0.25,\"rank\":1,\"decoded_token\":\" a\"}}]")
                .formatted(upon, a));
    String[] frames = chat(ask(",\"return_token_ids\":true,\"stream\":true")).body().split("\n\n");
    assertThat(frames[0]).contains("\"prompt_token_ids\":[" + once + "," + upon + "]");
    assertThat(frames[1]).contains("\"token_ids\":[" + word("▁time") + "]");
    assertThat(frames[1]).doesNotContain("prompt_token_ids");
  }

  @Test
  void truncationKeepsTheLastTokens() throws Exception {
    assertThat(promptOf(ask(",\"truncate_prompt_tokens\":1"))).containsExactly(word("▁upon"));
    assertThat(promptOf(ask(",\"truncate_prompt_tokens\":-1,\"max_tokens\":63")))
        .containsExactly(word("▁upon"));
  }

  @Test
  void anErrorInAStreamIsAFrame() throws Exception {
    engine.answer =
        request ->
            Flux.concat(
                Flux.just(new Tokens(0, "x", List.of(token(7, Float.NaN)))),
                Flux.error(new IllegalStateException("secret")));
    String[] frames = chat(ask(",\"stream\":true")).body().split("\n\n");
    assertThat(frames).hasSize(4);
    assertThat(frames[2]).startsWith("data: {\"error\":{").doesNotContain("secret");
    assertThat(frames[3]).isEqualTo("data: [DONE]");
  }
}
