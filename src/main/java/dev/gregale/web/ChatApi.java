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

/** The route of chat completion and its documentation. */
@Tag(name = "Chat", description = "OpenAI's chat completions")
interface ChatApi {

  @Operation(
      operationId = "createChatCompletion",
      summary = "Continue a conversation",
      description =
          "Renders the messages with the checkpoint's own chat template and answers with JSON or,"
              + " with `stream`, with server-sent events. What the template refuses, such as turns"
              + " in another order than it knows, is a 400 with its message.",
      requestBody =
          @RequestBody(
              required = true,
              content =
                  @Content(
                      mediaType = MediaType.APPLICATION_JSON_VALUE,
                      schema = @Schema(implementation = ChatRequest.class),
                      examples = {
                        @ExampleObject(name = "question", value = Examples.QUESTION),
                        @ExampleObject(name = "conversation", value = Examples.CONVERSATION),
                        @ExampleObject(name = "stream", value = Examples.STREAM),
                        @ExampleObject(name = "log-probabilities", value = Examples.LOGPROBS)
                      })))
  @ApiResponse(
      responseCode = "200",
      description = "The answer, or its events.",
      content = {
        @Content(
            mediaType = MediaType.APPLICATION_JSON_VALUE,
            schema = @Schema(implementation = ChatResponse.class),
            examples = @ExampleObject(Examples.ANSWER)),
        @Content(
            mediaType = MediaType.TEXT_EVENT_STREAM_VALUE,
            schema =
                @Schema(
                    type = "string",
                    description =
                        "`data: {...}` frames, each a chat.completion.chunk with what is new: the role"
                            + " first, then text, at last a finish_reason; closed by `data: [DONE]`."
                            + " An error after the first frame is a frame with an error object."),
            examples = @ExampleObject(Examples.EVENTS))
      })
  @GenerationErrors
  @PostMapping(path = "/v1/chat/completions", consumes = MediaType.APPLICATION_JSON_VALUE)
  Mono<Void> createChatCompletion(@Parameter(hidden = true) ServerWebExchange exchange);

  /** Requests and answers as the documentation shows them; all hold for the bundled model. */
  final class Examples {
    static final String QUESTION =
        """
        {"model": "fairytale-moe-7m", "max_completion_tokens": 48,
         "messages": [{"role": "user", "content": "Tell me a story."}]}""";

    static final String CONVERSATION =
        """
        {"model": "fairytale-moe-7m", "max_completion_tokens": 32, "temperature": 0.7, "seed": 7,
         "messages": [
           {"role": "system", "content": "You tell tales."},
           {"role": "user", "content": "Begin."},
           {"role": "assistant", "content": "There was a fox."},
           {"role": "user", "content": [{"type": "text", "text": "And then?"}]}]}""";

    static final String STREAM =
        """
        {"model": "fairytale-moe-7m", "max_completion_tokens": 48, "stream": true,
         "stream_options": {"include_usage": true},
         "messages": [{"role": "user", "content": "Tell me a story."}]}""";

    static final String LOGPROBS =
        """
        {"model": "fairytale-moe-7m", "max_completion_tokens": 4, "logprobs": true,
         "top_logprobs": 2, "messages": [{"role": "user", "content": "Tell me a story."}]}""";

    static final String ANSWER =
        """
        {"id": "chatcmpl-4f6c9d1e", "object": "chat.completion", "created": 1790000000,
         "model": "fairytale-moe-7m",
         "choices": [{"index": 0,
           "message": {"role": "assistant", "content": " A Man", "refusal": null},
           "logprobs": null, "finish_reason": "length"}],
         "usage": {"prompt_tokens": 13, "completion_tokens": 2, "total_tokens": 15,
                   "prompt_tokens_details": {"cached_tokens": 0}}}""";

    static final String EVENTS =
        """
        data: {"id":"chatcmpl-4f6c9d1e","object":"chat.completion.chunk","created":1790000000,\
        "model":"fairytale-moe-7m","choices":[{"index":0,"delta":{"role":"assistant","content":""},\
        "logprobs":null,"finish_reason":null}]}

        data: {"id":"chatcmpl-4f6c9d1e","object":"chat.completion.chunk","created":1790000000,\
        "model":"fairytale-moe-7m","choices":[{"index":0,"delta":{"content":" A"},\
        "logprobs":null,"finish_reason":null}]}

        data: {"id":"chatcmpl-4f6c9d1e","object":"chat.completion.chunk","created":1790000000,\
        "model":"fairytale-moe-7m","choices":[{"index":0,"delta":{},"logprobs":null,\
        "finish_reason":"stop"}]}

        data: [DONE]

        """;

    private Examples() {}
  }
}
