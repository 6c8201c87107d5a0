package dev.gregale.openai;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.charset.StandardCharsets;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.springframework.http.HttpStatus;
import org.springframework.http.MediaType;
import org.springframework.http.server.reactive.HttpHandler;
import org.springframework.mock.http.server.reactive.MockServerHttpRequest;
import org.springframework.mock.http.server.reactive.MockServerHttpResponse;
import reactor.core.publisher.Mono;

/** The check lets right replies pass and finds what is wrong with broken ones. */
class ReplyCheckTest {
  private static final String USAGE =
      "'usage':{'prompt_tokens':1,'completion_tokens':1,'total_tokens':2}";
  private static final String COMPLETION =
      "{'id':'cmpl-1','object':'text_completion','created':7,'model':'m','choices':[{'text':'a',"
          + "'index':0,'logprobs':{'tokens':['a'],'token_logprobs':[-0.5],'top_logprobs':"
          + "[{'a':-0.5}],'text_offset':[0]},'finish_reason':'stop'}],"
          + USAGE
          + "}";
  private static final String CHAT =
      "{'id':'chatcmpl-1','object':'chat.completion','created':7,'model':'m','choices':[{'index':0,"
          + "'message':{'role':'assistant','content':'a','refusal':null},'logprobs':{'content':["
          + "{'token':'a','logprob':-0.5,'bytes':[97],'top_logprobs':[{'token':'a','logprob':-0.5,"
          + "'bytes':null}]}],'refusal':null},'finish_reason':'length'}],"
          + USAGE
          + "}";
  private static final String ERROR =
      "{'error':{'message':'no','type':'invalid_request_error','param':null,'code':null}}";
  private static final String CHUNK =
      "{'id':'cmpl-1','object':'text_completion','created':7,'model':'m','choices':[{'text':'a',"
          + "'index':0,'logprobs':null,'finish_reason':null}],'usage':null}";
  private static final String LAST =
      CHUNK.replace("'finish_reason':null", "'finish_reason':'stop'");
  private static final String TOTALS =
      "{'id':'cmpl-1','object':'text_completion','created':7,'model':'m','choices':[],"
          + USAGE
          + "}";

  @Test
  void rightRepliesPass() {
    assertEquals(List.of(), reply("/v1/completions", 200, COMPLETION));
    assertEquals(List.of(), reply("/v1/chat/completions", 200, CHAT));
    assertEquals(List.of(), reply("/v1/embeddings", 501, ERROR));
    assertEquals(List.of(), stream(CHUNK, CHUNK, LAST, TOTALS, "[DONE]"));
    assertEquals(List.of(), stream(CHUNK, ERROR, "[DONE]"));
    assertEquals(List.of(), reply("/actuator/health", 200, "{'status':'UP'}"));
  }

  /** One key left out, added, or of another type is found, at every depth. */
  @ParameterizedTest
  @CsvSource(
      delimiter = ';',
      textBlock =
          """
          "id":"cmpl-1",                ;                              ; id
          "created":7                   ; "created":7.5                ; created
          "created":7                   ; "created":7,"extra":1        ; extra
          "object":"text_completion"    ; "object":"completion"        ; object
          "logprobs":{                  ; "logprobs_":{                ; logprobs
          ,"finish_reason":"stop"       ;                              ; finish_reason
          "finish_reason":"stop"        ; "finish_reason":null         ; finish_reason
          "finish_reason":"stop"        ; "finish_reason":"abort"      ; finish_reason
          "index":0                     ; "index":"0"                  ; index
          "token_logprobs":[-0.5]       ; "token_logprobs":[-0.5,null] ; token_logprobs
          ,"text_offset":[0]            ;                              ; text_offset
          "top_logprobs":[{"a":-0.5}]   ; "top_logprobs":[{"a":"x"}]   ; top_logprobs
          ,"total_tokens":2             ;                              ; total_tokens
          """)
  void brokenCompletionsAreFound(String right, String wrong, String key) {
    assertBroken("/v1/completions", 200, COMPLETION, right, wrong, key);
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = ';',
      textBlock =
          """
          ,"refusal":null}              ; }                            ; refusal
          "role":"assistant"            ; "role":"user"                ; role
          "logprob":-0.5                ; "logprob":null               ; logprob
          "bytes":[97]                  ; "bytes":[256]                ; bytes
          ,"bytes":null                 ;                              ; bytes
          "index":0,                    ;                              ; index
          "chat.completion"             ; "text_completion"            ; object
          """)
  void brokenChatsAreFound(String right, String wrong, String key) {
    assertBroken("/v1/chat/completions", 200, CHAT, right, wrong, key);
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = ';',
      textBlock =
          """
          ,"param":null     ;                ; param
          "code":null       ; "code":400     ; code
          "message":"no"    ; "message":" "  ; message
          "type":"invalid_request_error", ;  ; type
          {"error":         ; {"object":"error","error": ; object
          """)
  void brokenErrorsAreFound(String right, String wrong, String key) {
    assertBroken("/v1/completions", 400, ERROR, right, wrong, key);
  }

  @Test
  void brokenStreamsAreFound() {
    assertFound("without [DONE]", stream(LAST, TOTALS));
    assertFound("before every choice", stream(CHUNK, "[DONE]"));
    assertFound("without its totals", stream(LAST, "[DONE]"));
    assertFound("goes on after its finish_reason", stream(LAST, CHUNK, TOTALS, "[DONE]"));
    assertFound("usage is in some", stream(CHUNK, LAST.replace(",'usage':null", ""), "[DONE]"));
    assertFound("another id", stream(CHUNK.replace("cmpl-1", "cmpl-2"), LAST, TOTALS, "[DONE]"));
    assertFound("after [DONE]", stream(LAST, TOTALS, "[DONE]", "[DONE]"));
    assertFound("is no completion-chunk", stream(COMPLETION.replace("cmpl", "x"), "[DONE]"));
    assertFound("is not [DONE]", stream(ERROR, LAST));
    assertFound("single line", check("/v1/completions", 200, "event: x\ndata: {}\n\n", true));
  }

  @Test
  void whatIsNotInTheContractIsFound() {
    assertFound("no schema", reply("/v1/nothing", 200, "{}"));
    assertFound("no JSON document", reply("/v1/completions", 200, COMPLETION + "{}"));
    assertFound("has no body", check("/v1/completions", 401, "", false));
    assertFound("is no error", reply("/tokenize", 500, "{'status':500}"));
  }

  private static void assertBroken(
      String path, int status, String reply, String right, String wrong, String key) {
    String whole = reply.replace('\'', '"');
    assertTrue(whole.contains(right), right + " is not in the sample");
    String broken = whole.replace(right, wrong == null ? "" : wrong);
    List<String> violations = reply(path, status, broken);
    assertFound(key, violations.stream().map(text -> text.split("\n  in ")[0]).toList());
  }

  private static void assertFound(String expected, List<String> violations) {
    assertTrue(String.join("\n", violations).contains(expected), violations::toString);
  }

  private static List<String> reply(String path, int status, String body) {
    return check(path, status, body, false);
  }

  private static List<String> stream(String... events) {
    return check(
        "/v1/completions", 200, "data: " + String.join("\n\ndata: ", events) + "\n\n", true);
  }

  private static List<String> check(String path, int status, String body, boolean events) {
    byte[] bytes = body.replace('\'', '"').getBytes(StandardCharsets.UTF_8);
    HttpHandler server =
        (request, response) -> {
          response.setStatusCode(HttpStatus.valueOf(status));
          response
              .getHeaders()
              .setContentType(events ? MediaType.TEXT_EVENT_STREAM : MediaType.APPLICATION_JSON);
          return bytes.length == 0
              ? response.setComplete()
              : response.writeWith(Mono.just(response.bufferFactory().wrap(bytes)));
        };
    ReplyCheck check = new ReplyCheck();
    MockServerHttpResponse response = new MockServerHttpResponse();
    check.apply(server).handle(MockServerHttpRequest.post(path).build(), response).block();
    assertEquals(
        bytes.length == 0 ? "" : new String(bytes, StandardCharsets.UTF_8),
        response.getBodyAsString().onErrorReturn("").block());
    return check.takeViolations();
  }
}
