package dev.gregale.web;

import static dev.gregale.web.Ranges.check;
import static dev.gregale.web.Ranges.required;

import dev.gregale.engine.EngineInfo;
import dev.gregale.engine.LlmEngine;
import dev.gregale.tokenizer.Tokenizer;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import org.jspecify.annotations.Nullable;
import org.springframework.web.bind.annotation.RestController;
import org.springframework.web.server.ServerWebExchange;
import reactor.core.publisher.Mono;

/** vLLM's routes between text and token ids. */
@RestController
final class TokenizeController implements TokenizeApi {
  private final LlmEngine engine;
  private final @Nullable Tokenizer tokenizer;
  private final ChatPrompts prompts;
  private final RequestReader requests;

  TokenizeController(
      LlmEngine engine,
      @Nullable Tokenizer tokenizer,
      ChatPrompts prompts,
      RequestReader requests) {
    this.engine = engine;
    this.tokenizer = tokenizer;
    this.prompts = prompts;
    this.requests = requests;
  }

  @Override
  public Mono<TokenizeResponse> tokenize(ServerWebExchange exchange) {
    return requests.read(exchange, TokenizeRequest.class, this::tokenize);
  }

  @Override
  public Mono<DetokenizeResponse> detokenize(ServerWebExchange exchange) {
    return requests.read(exchange, DetokenizeRequest.class, this::detokenize);
  }

  private TokenizeResponse tokenize(TokenizeRequest request) {
    EngineInfo info = engine.info();
    checkModel(request.model(), info);
    UnsupportedFields.check("", "", request.others());
    String prompt = request.prompt();
    check(
        prompt == null || request.messages() == null,
        "prompt",
        "prompt and messages cannot be given together; leave one of them out");
    int[] ids = prompt == null ? ofMessages(request) : ofPrompt(prompt, request);
    List<String> strings =
        Boolean.TRUE.equals(request.returnTokenStrs())
            ? Arrays.stream(ids).mapToObj(tokenizer("prompt")::token).toList()
            : null;
    return new TokenizeResponse(ids.length, info.maxModelLen(), ids, strings);
  }

  private int[] ofMessages(TokenizeRequest request) {
    List<@Nullable Message> messages =
        required(request.messages(), "prompt", "prompt is missing; give a text, or messages");
    Tokenizer tokenizer = tokenizer("messages");
    String text = prompts.render(messages, request.addGenerationPrompt());
    return TextEncoding.encode(
        tokenizer, "messages", text, Boolean.TRUE.equals(request.addSpecialTokens()));
  }

  private int[] ofPrompt(String prompt, TokenizeRequest request) {
    Tokenizer tokenizer = tokenizer("prompt");
    TextEncoding.checkWellFormed("prompt", "prompt", prompt);
    return TextEncoding.encode(
        tokenizer, "prompt", prompt, !Boolean.FALSE.equals(request.addSpecialTokens()));
  }

  private DetokenizeResponse detokenize(DetokenizeRequest request) {
    EngineInfo info = engine.info();
    checkModel(request.model(), info);
    int[] ids =
        required(request.tokens(), "tokens", "tokens is missing; give an array of token ids")
            .stream()
            .mapToInt(id -> Objects.requireNonNullElse(id, -1))
            .toArray();
    TextEncoding.checkIds("tokens", "tokens", ids, info.vocabSize());
    return new DetokenizeResponse(tokenizer("tokens").decode(ids, false));
  }

  private static void checkModel(@Nullable String model, EngineInfo info) {
    if (model != null) {
      SamplingValidator.checkModel(model, info);
    }
  }

  private Tokenizer tokenizer(String field) {
    return required(tokenizer, field, "This checkpoint has no tokenizer, so it has no texts");
  }
}
