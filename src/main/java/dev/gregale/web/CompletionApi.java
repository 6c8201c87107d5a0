package dev.gregale.web;

import io.swagger.v3.oas.annotations.Operation;
import io.swagger.v3.oas.annotations.Parameter;
import io.swagger.v3.oas.annotations.media.Content;
import io.swagger.v3.oas.annotations.media.ExampleObject;
import io.swagger.v3.oas.annotations.media.Schema;
import io.swagger.v3.oas.annotations.parameters.RequestBody;
import io.swagger.v3.oas.annotations.responses.ApiResponse;
import io.swagger.v3.oas.annotations.tags.Tag;
import org.springframework.http.MediaType;
import org.springframework.web.bind.annotation.PostMapping;
import org.springframework.web.server.ServerWebExchange;
import reactor.core.publisher.Mono;

/** The route of text completion and its documentation. */
@Tag(name = "Completions", description = "OpenAI's text completions")
interface CompletionApi {

  @Operation(
      operationId = "createCompletion",
      summary = "Continue a text",
      description =
          "Takes text or token ids, answers with JSON or, with `stream`, with server-sent events. With"
              + " `echo`, `logprobs` and `max_tokens: 0` it scores the prompt.",
      requestBody =
          @RequestBody(
              required = true,
              content =
                  @Content(
                      mediaType = MediaType.APPLICATION_JSON_VALUE,
                      schema = @Schema(implementation = CompletionRequest.class),
                      examples = {
                        @ExampleObject(name = "text", value = Examples.TEXT),
                        @ExampleObject(name = "token ids", value = Examples.TOKEN_IDS),
                        @ExampleObject(name = "stream", value = Examples.STREAM),
                        @ExampleObject(
                            name = "score a prompt",
                            summary = "Log-likelihoods of the prompt, nothing generated",
                            value = Examples.SCORE)
                      })))
  @ApiResponse(
      responseCode = "200",
      description = "The completion, or its events.",
      content = {
        @Content(
            mediaType = MediaType.APPLICATION_JSON_VALUE,
            schema = @Schema(implementation = CompletionResponse.class),
            examples = @ExampleObject(Examples.ANSWER)),
        @Content(
            mediaType = MediaType.TEXT_EVENT_STREAM_VALUE,
            schema =
                @Schema(
                    type = "string",
                    description =
                        "`data: {...}` frames, each a completion object with what is new, closed by"
                            + " `data: [DONE]`. finish_reason is null until a choice's last frame."
                            + " An error after the first frame is a frame with an error object."),
            examples = @ExampleObject(Examples.EVENTS))
      })
  @GenerationErrors
  @PostMapping(path = "/v1/completions", consumes = MediaType.APPLICATION_JSON_VALUE)
  Mono<Void> createCompletion(@Parameter(hidden = true) ServerWebExchange exchange);

  /** Requests and answers as the documentation shows them; all hold for the bundled model. */
  final class Examples {
    static final String TEXT =
        """
        {"model": "fairytale-moe-7m", "prompt": "Once upon a time", "max_tokens": 32, "seed": 7}""";

    static final String TOKEN_IDS =
        """
        {"model": "fairytale-moe-7m", "prompt": [[1, 300, 301], [1, 302]], "max_tokens": 8}""";

    static final String STREAM =
        """
        {"model": "fairytale-moe-7m", "prompt": "Once upon a time", "max_tokens": 32,
         "temperature": 0, "stream": true, "stream_options": {"include_usage": true}}""";

    static final String SCORE =
        """
        {"model": "fairytale-moe-7m", "prompt": "Once upon a time", "max_tokens": 0,
         "echo": true, "logprobs": 1}""";

    static final String ANSWER =
        """
        {"id": "cmpl-4f6c9d1e", "object": "text_completion", "created": 1790000000,
         "model": "fairytale-moe-7m",
         "choices": [{"text": " there was", "index": 0, "logprobs": null, "finish_reason": "length"}],
         "usage": {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7,
                   "prompt_tokens_details": {"cached_tokens": 0}}}""";

    static final String EVENTS =
        """
        data: {"id":"cmpl-4f6c9d1e","object":"text_completion","created":1790000000,\
        "model":"fairytale-moe-7m","choices":[{"text":" there","index":0,"logprobs":null,\
        "finish_reason":null}]}

        data: {"id":"cmpl-4f6c9d1e","object":"text_completion","created":1790000000,\
        "model":"fairytale-moe-7m","choices":[{"text":"","index":0,"logprobs":null,\
        "finish_reason":"stop"}]}

        data: [DONE]

        """;

    private Examples() {}
  }
}
