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

/** vLLM's routes between text and token ids, and their documentation. */
@Tag(name = "Tokens", description = "Text to token ids and back, as vLLM has it")
interface TokenizeApi {

  @Operation(
      operationId = "tokenize",
      summary = "Token ids of a text or a conversation",
      requestBody =
          @RequestBody(
              required = true,
              content =
                  @Content(
                      mediaType = MediaType.APPLICATION_JSON_VALUE,
                      schema = @Schema(implementation = TokenizeRequest.class),
                      examples = {
                        @ExampleObject(
                            name = "text",
                            value =
                                """
                                {"prompt": "Once upon a time", "return_token_strs": true}"""),
                        @ExampleObject(
                            name = "conversation",
                            value =
                                """
                                {"messages": [{"role": "user", "content": "Hello"}]}""")
                      })))
  @ApiResponse(responseCode = "200", description = "The ids.")
  @GenerationErrors
  @PostMapping(path = "/tokenize", consumes = MediaType.APPLICATION_JSON_VALUE)
  Mono<TokenizeResponse> tokenize(@Parameter(hidden = true) ServerWebExchange exchange);

  @Operation(
      operationId = "detokenize",
      summary = "The text of token ids",
      requestBody =
          @RequestBody(
              required = true,
              content =
                  @Content(
                      mediaType = MediaType.APPLICATION_JSON_VALUE,
                      schema = @Schema(implementation = DetokenizeRequest.class),
                      examples =
                          @ExampleObject(name = "tokens", value = "{\"tokens\": [1, 300]}"))))
  @ApiResponse(responseCode = "200", description = "The text.")
  @GenerationErrors
  @PostMapping(path = "/detokenize", consumes = MediaType.APPLICATION_JSON_VALUE)
  Mono<DetokenizeResponse> detokenize(@Parameter(hidden = true) ServerWebExchange exchange);
}
