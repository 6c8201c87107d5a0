package dev.gregale.web;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import tools.jackson.databind.JsonNode;

/** The OpenAPI document says what the server does. */
class OpenApiTest extends WebTest {

  @Test
  void everyReferenceLeadsSomewhere() throws Exception {
    JsonNode api = api();
    List<String> references = new ArrayList<>();
    for (JsonNode node : api.findValues("$ref")) {
      references.add(node.asString());
    }
    assertThat(references).isNotEmpty();
    for (String reference : references) {
      assertThat(api.at(reference.substring(1)).isMissingNode()).as(reference).isFalse();
    }
  }

  @Test
  void routesAndSchemasAreDescribed() throws Exception {
    JsonNode api = api();
    assertThat(api.get("openapi").asString()).startsWith("3.1");
    assertThat(api.get("paths").propertyNames())
        .containsExactlyInAnyOrder(
            "/v1/completions",
            "/v1/chat/completions",
            "/v1/models",
            "/v1/models/{id}",
            "/tokenize",
            "/detokenize",
            "/admin/convert",
            "/admin/convert/{id}",
            "/admin/convert/{id}/events");
    assertThat(api.at("/components/schemas").propertyNames())
        .contains(
            "CompletionRequest",
            "CompletionResponse",
            "CompletionChoice",
            "CompletionLogprobs",
            "CompletionUsage",
            "ErrorResponse",
            "Error",
            "ModelList",
            "Model",
            "StreamOptions")
        .doesNotContain("PromptInput", "ServerWebExchange");
    JsonNode post = api.at("/paths/~1v1~1completions/post");
    assertThat(post.get("responses").propertyNames())
        .contains("200", "400", "401", "404", "413", "415", "429", "500", "503");
    assertThat(post.at("/responses/200/content").propertyNames())
        .containsExactlyInAnyOrder("application/json", "text/event-stream");
    assertThat(post.at("/requestBody/content/application~1json/examples").propertyNames())
        .containsExactly("text", "token ids", "stream", "score a prompt");
    assertThat(post.path("parameters").isMissingNode()).isTrue();
    assertThat(api.at("/components/securitySchemes/apiKey/scheme").asString()).isEqualTo("bearer");
    assertThat(api.at("/components/responses/Overloaded/headers/Retry-After").isObject()).isTrue();
  }

  @Test
  void everyFieldOfARequestIsDescribed() throws Exception {
    JsonNode properties = api().at("/components/schemas/CompletionRequest/properties");
    assertThat(properties.propertyNames())
        .containsExactlyInAnyOrder(
            "model",
            "prompt",
            "best_of",
            "echo",
            "frequency_penalty",
            "logit_bias",
            "logprobs",
            "max_tokens",
            "n",
            "presence_penalty",
            "seed",
            "stop",
            "stream",
            "stream_options",
            "suffix",
            "temperature",
            "top_p",
            "user",
            "top_k",
            "min_p",
            "repetition_penalty",
            "no_repeat_ngram_size",
            "min_tokens",
            "ignore_eos",
            "stop_token_ids",
            "include_stop_str_in_output",
            "skip_special_tokens",
            "add_special_tokens",
            "prompt_logprobs",
            "return_token_ids",
            "return_routed_experts",
            "truncate_prompt_tokens",
            "priority",
            "use_beam_search",
            "length_penalty",
            "response_format");
    assertThat(properties.at("/prompt/oneOf")).hasSize(5);
    assertThat(properties.at("/stop/oneOf")).hasSize(3);
    assertThat(properties.at("/temperature/maximum").asInt()).isEqualTo(2);
    assertThat(properties.at("/max_tokens/default").asInt()).isEqualTo(16);
    assertThat(properties.at("/logit_bias/additionalProperties/type").toString())
        .contains("number");
  }

  @Test
  void nullsAndRequiredKeysAreDeclared() throws Exception {
    JsonNode schemas = api().get("components").get("schemas");
    assertThat(schemas.at("/CompletionRequest/required").toString()).isEqualTo("[\"model\"]");
    assertThat(schemas.at("/CompletionRequest/properties/n/type").toString())
        .isEqualTo("[\"integer\",\"null\"]");
    assertThat(schemas.at("/CompletionChoice/required"))
        .extracting(JsonNode::asString)
        .containsExactlyInAnyOrder("text", "index", "logprobs", "finish_reason");
    assertThat(schemas.at("/CompletionChoice/properties/finish_reason/enum").toString())
        .isEqualTo("[\"stop\",\"length\",null]");
    assertThat(schemas.at("/CompletionChoice/properties/logprobs/oneOf/1/type").toString())
        .contains("null");
    assertThat(schemas.at("/CompletionLogprobs/properties/token_logprobs/items/type").toString())
        .contains("null");
    assertThat(schemas.at("/Error/required")).hasSize(4);
  }

  /** The examples must be what the server takes, but for the model's name and size. */
  @Test
  void requestExamplesWork() throws Exception {
    int examples = 0;
    for (String path :
        List.of("/v1/completions", "/v1/chat/completions", "/tokenize", "/detokenize")) {
      JsonNode body =
          api().get("paths").get(path).at("/post/requestBody/content/application~1json");
      for (JsonNode example : body.get("examples")) {
        String request =
            example
                .get("value")
                .toString()
                .replace("fairytale-moe-7m", "stub")
                .replaceAll("\"max_completion_tokens\":[0-9]+", "\"max_completion_tokens\":2");
        assertThat(send(post(path, request)).statusCode()).as(request).isEqualTo(200);
        examples++;
      }
    }
    assertThat(examples).isEqualTo(11);
  }

  @Test
  void chatIsDescribed() throws Exception {
    JsonNode schemas = api().get("components").get("schemas");
    assertThat(schemas.at("/ChatRequest/required"))
        .extracting(JsonNode::asString)
        .containsExactlyInAnyOrder("messages", "model");
    assertThat(schemas.at("/ChatRequest/properties").propertyNames())
        .contains("max_completion_tokens", "top_logprobs", "top_k", "return_token_ids")
        .doesNotContain("others", "best_of");
    assertThat(schemas.at("/ChatMessage/required"))
        .extracting(JsonNode::asString)
        .containsExactlyInAnyOrder("role", "content");
    assertThat(schemas.at("/ChatMessage/properties/content/oneOf")).hasSize(2);
    assertThat(schemas.at("/ChatMessage/properties").propertyNames())
        .containsExactlyInAnyOrder("role", "content");
    assertThat(schemas.at("/ChatResponse/required"))
        .extracting(JsonNode::asString)
        .containsExactlyInAnyOrder("id", "object", "created", "model", "choices", "usage");
    assertThat(schemas.at("/ChatReply/required")).hasSize(3);
    assertThat(schemas.at("/ChatTokenLogprob/required")).hasSize(4);
  }

  @Test
  void conversionIsDescribed() throws Exception {
    JsonNode api = api();
    JsonNode post = api.at("/paths/~1admin~1convert/post");
    assertThat(post.get("responses").propertyNames())
        .contains("202", "400", "403", "404", "409", "422", "429");
    for (String status : List.of("400", "403", "404", "409", "422", "429")) {
      String ref = post.at("/responses/" + status + "/$ref").asString();
      JsonNode response = api.at(ref.substring(1));
      assertThat(response.get("content").propertyNames())
          .as(ref)
          .containsExactly("application/problem+json");
      assertThat(response.at("/content/application~1problem+json/examples/problem/value/status"))
          .hasToString(status);
    }
    assertThat(api.at("/components/schemas/ProblemDetail/properties").propertyNames())
        .contains("detail", "param");
    assertThat(post.at("/requestBody/content/application~1json/examples").propertyNames())
        .containsExactly(
            "convert", "check only", "quantise", "experts for two ranks", "all options");
    assertThat(post.at("/parameters/0/name").asString()).isEqualTo("Idempotency-Key");
    assertThat(api.at("/components/schemas/ConvertRequest/properties").propertyNames())
        .containsExactlyInAnyOrder(
            "source",
            "target",
            "to",
            "dtype",
            "quantize",
            "dequantize",
            "maxShardSize",
            "expertParallelSize",
            "overwrite",
            "dryRun",
            "verify");
    assertThat(api.at("/components/schemas/ConvertRequest/properties/quantize/enum"))
        .extracting(JsonNode::asString)
        .containsExactly("fp8", "fp8-block", "mxfp8");
    assertThat(api.at("/components/schemas/Conversion/properties/progress").toString())
        .contains("ConversionProgress");
    JsonNode events = api.at("/paths/~1admin~1convert~1{id}~1events/get");
    assertThat(events.at("/responses/200/content").propertyNames())
        .containsExactlyInAnyOrder("text/event-stream", "application/x-ndjson");
    assertThat(events.get("parameters")).hasSize(1);
  }

  @Test
  void swaggerUiIsServed() throws Exception {
    assertThat(get("/swagger-ui.html").statusCode()).isEqualTo(302);
    assertThat(get("/webjars/swagger-ui/index.html").body()).contains("Swagger UI");
  }

  private JsonNode api() throws Exception {
    return JSON.readTree(get("/v3/api-docs").body());
  }
}
