package dev.gregale.web;

import static dev.gregale.web.StubEngine.token;
import static dev.gregale.web.StubTokenizer.word;
import static org.assertj.core.api.Assertions.assertThat;

import dev.gregale.engine.EngineUnavailableException;
import dev.gregale.engine.GenerationEvent;
import dev.gregale.engine.GenerationEvent.Finished;
import dev.gregale.engine.GenerationEvent.Tokens;
import dev.gregale.sampling.FinishReason;
import java.net.http.HttpResponse;
import java.util.List;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Test;
import reactor.core.publisher.Flux;

/** Streams to the letter, and answers that fail on their way. */
class CompletionStreamTest extends WebTest {

  @Test
  void streamWithoutUsageIsExact() throws Exception {
    HttpResponse<String> response =
        complete("{\"model\":\"stub\",\"prompt\":\"Once\",\"max_tokens\":2,\"stream\":true}");
    assertThat(response.statusCode()).isEqualTo(200);
    assertThat(response.headers().firstValue("Content-Type"))
        .hasValue("text/event-stream;charset=UTF-8");
    String head =
        "data: {\"id\":\"ID\",\"object\":\"text_completion\",\"created\":NOW,\"model\":\"stub\",";
    assertThat(normalised(response.body()))
        .isEqualTo(
            head
                + "\"choices\":[{\"text\":\" time\",\"index\":0,\"logprobs\":null,\"finish_reason\":null}]}\n\n"
                + head
                + "\"choices\":[{\"text\":\" time\",\"index\":0,\"logprobs\":null,\"finish_reason\":null}]}\n\n"
                + head
                + "\"choices\":[{\"text\":\"\",\"index\":0,\"logprobs\":null,\"finish_reason\":\"length\"}]}\n\n"
                + "data: [DONE]\n\n");
  }

  @Test
  void streamWithUsageEchoAndLogprobsIsExact() throws Exception {
    HttpResponse<String> response =
        complete(
            "{\"model\":\"stub\",\"prompt\":["
                + word("▁Once")
                + "],\"max_tokens\":1,\"stream\":true,"
                + "\"echo\":true,\"logprobs\":0,\"stream_options\":{\"include_usage\":true}}");
    String head =
        "data: {\"id\":\"ID\",\"object\":\"text_completion\",\"created\":NOW,\"model\":\"stub\",";
    assertThat(normalised(response.body()))
        .isEqualTo(
            head
                + "\"choices\":[{\"text\":\"Once\",\"index\":0,\"logprobs\":{\"tokens\":[\"Once\"],"
                + "\"token_logprobs\":[null],\"top_logprobs\":[null],\"text_offset\":[0]},"
                + "\"finish_reason\":null}],\"usage\":null}\n\n"
                + head
                + "\"choices\":[{\"text\":\" time\",\"index\":0,\"logprobs\":{\"tokens\":[\" time\"],"
                + "\"token_logprobs\":[-0.25],\"top_logprobs\":[{\" time\":-0.25}],\"text_offset\":[4]},"
                + "\"finish_reason\":null}],\"usage\":null}\n\n"
                + head
                + "\"choices\":[{\"text\":\"\",\"index\":0,\"logprobs\":null,\"finish_reason\":\"length\"}],\"usage\":null}\n\n"
                + head
                + "\"choices\":[],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":1,\"total_tokens\":2,\"prompt_tokens_details\":{\"cached_tokens\":0}}}\n\n"
                + "data: [DONE]\n\n");
  }

  @Test
  void echoWithoutLogprobsStreamsThePromptOnce() throws Exception {
    String body =
        complete(
                "{\"model\":\"stub\",\"prompt\":\"Once\",\"max_tokens\":2,\"stream\":true,\"echo\":true}")
            .body();
    assertThat(body.split("\"text\":\"Once\"", -1)).hasSize(2);
    assertThat(body.indexOf("Once")).isLessThan(body.indexOf(" time"));
  }

  @Test
  void tokensThatAddNoTextYetMakeNoFrame() throws Exception {
    engine.answer = request -> Flux.just(say(0, ""), say(0, "é"), end(0));
    String body = complete("{\"model\":\"stub\",\"prompt\":\"Once\",\"stream\":true}").body();
    assertThat(body.split("data: \\{", -1)).hasSize(3);
  }

  @Test
  void continuousUsageCountsEachChoice() throws Exception {
    String body =
        complete(
                "{\"model\":\"stub\",\"prompt\":[[7],[8,9]],\"max_tokens\":2,\"stream\":true,"
                    + "\"stream_options\":{\"include_usage\":true,\"continuous_usage_stats\":true}}")
            .body();
    List<String> usages =
        Pattern.compile("\"usage\":\\{[^}]*}")
            .matcher(body)
            .results()
            .map(m -> m.group().replaceAll("[^0-9,]", ""))
            .toList();
    assertThat(usages)
        .containsExactly("1,1,2", "1,2,3", "1,2,3", "2,1,3", "2,2,4", "2,2,4", "3,4,7,1");
    String alone =
        complete(
                "{\"model\":\"stub\",\"prompt\":[7],\"stream\":true,"
                    + "\"stream_options\":{\"continuous_usage_stats\":true}}")
            .body();
    assertThat(alone).doesNotContain("usage");
  }

  @Test
  void anErrorOvertakesNoFrame() throws Exception {
    engine.answer =
        request -> Flux.concat(Flux.just(say(0, "x")), Flux.error(new IllegalStateException()));
    String[] frames =
        complete("{\"model\":\"stub\",\"prompt\":\"Once\",\"stream\":true,\"echo\":true}")
            .body()
            .split("\n\n");
    assertThat(frames).hasSize(4);
    assertThat(frames[1]).contains("\"text\":\"x\"");
  }

  @Test
  void anErrorInAStreamIsAFrame() throws Exception {
    engine.answer =
        request ->
            Flux.concat(
                Flux.just(say(0, "x")), Flux.error(new IllegalStateException("secret 0xdeadbeef")));
    HttpResponse<String> response =
        complete("{\"model\":\"stub\",\"prompt\":\"Once\",\"stream\":true}");
    assertThat(response.statusCode()).isEqualTo(200);
    String[] frames = response.body().split("\n\n");
    assertThat(frames).hasSize(3);
    assertThat(frames[1])
        .startsWith(
            "data: {\"error\":{\"message\":\"The server failed on this request. Request id: ")
        .endsWith("\",\"type\":\"server_error\",\"param\":null,\"code\":\"internal_error\"}}")
        .doesNotContain("secret");
    assertThat(frames[2]).isEqualTo("data: [DONE]");
  }

  @Test
  void anAbortedSequenceIsAnErrorInBothModes() throws Exception {
    engine.answer = request -> Flux.just(say(0, "x"), new Finished(0, FinishReason.ABORT, 1, 0, 1));
    HttpResponse<String> whole = complete("{\"model\":\"stub\",\"prompt\":\"Once\"}");
    assertThat(whole.statusCode()).isEqualTo(503);
    assertThat(error(whole).get("code").asString()).isEqualTo("engine_unavailable");
    String stream = complete("{\"model\":\"stub\",\"prompt\":\"Once\",\"stream\":true}").body();
    assertThat(stream).contains("engine_unavailable").endsWith("data: [DONE]\n\n");
  }

  @Test
  void anEngineThatEndsTooEarlyIsAnError() throws Exception {
    engine.answer = request -> Flux.just(say(0, "x"));
    assertThat(complete("{\"model\":\"stub\",\"prompt\":\"Once\"}").statusCode()).isEqualTo(500);
    engine.answer = request -> Flux.error(new EngineUnavailableException("stopping"));
    HttpResponse<String> response =
        complete("{\"model\":\"stub\",\"prompt\":\"Once\",\"stream\":true}");
    assertThat(response.statusCode()).isEqualTo(503);
    assertThat(response.headers().firstValue("Content-Type")).hasValue("application/json");
  }

  private static GenerationEvent say(int index, String text) {
    return new Tokens(index, text, List.of(token(7, Float.NaN)));
  }

  private static GenerationEvent end(int index) {
    return new Finished(index, FinishReason.STOP, 4, index + 1, 1);
  }
}
