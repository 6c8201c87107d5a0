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
        .containsExactlyInAnyOrder("/v1/completions", "/v1/models", "/v1/models/{id}");
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
        .contains("200", "400", "404", "413", "415", "429", "500", "503");
    assertThat(post.at("/responses/200/content").propertyNames())
        .containsExactlyInAnyOrder("application/json", "text/event-stream");
    assertThat(post.at("/requestBody/content/application~1json/examples").propertyNames())
        .containsExactly("text", "token ids", "stream", "score a prompt");
    assertThat(post.path("parameters").isMissingNode()).isTrue();
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
            "skip_special_tokens");
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

  /** The examples must be what the parser takes, but for the model's name. */
  @Test
  void requestExamplesWork() throws Exception {
    JsonNode examples =
        api().at("/paths/~1v1~1completions/post/requestBody/content/application~1json/examples");
    for (JsonNode example : examples) {
      String body = example.get("value").toString().replace("fairytale-moe-7m", "stub");
      assertThat(complete(body).statusCode()).as(body).isEqualTo(200);
    }
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
