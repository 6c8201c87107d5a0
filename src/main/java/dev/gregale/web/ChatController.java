package dev.gregale.web;

import dev.gregale.engine.EngineInfo;
import dev.gregale.engine.LlmEngine;
import dev.gregale.sampling.SamplingParams;
import dev.gregale.tokenizer.Tokenizer;
import java.util.List;
import org.springframework.web.bind.annotation.RestController;
import org.springframework.web.server.ServerWebExchange;
import reactor.core.publisher.Mono;

/** Chat completion. */
@RestController
final class ChatController implements ChatApi {
  private final LlmEngine engine;
  private final ChatPrompts prompts;
  private final RequestReader requests;
  private final CompletionService completions;
  private final ResponseFormats formats;
  private final ChatFormat format;

  ChatController(
      LlmEngine engine,
      ChatPrompts prompts,
      RequestReader requests,
      CompletionService completions,
      ResponseFormats formats,
      ChatFormat format) {
    this.engine = engine;
    this.prompts = prompts;
    this.requests = requests;
    this.completions = completions;
    this.formats = formats;
    this.format = format;
  }

  @Override
  public Mono<Void> createChatCompletion(ServerWebExchange exchange) {
    return requests
        .readIfRoom(exchange, ChatRequest.class, this::prepare)
        .flatMap(completion -> completions.reply(completion, format, exchange));
  }

  private Completion prepare(ChatRequest request) {
    EngineInfo info = engine.info();
    ChatValidator validator = new ChatValidator(request, info, formats);
    SamplingParams params = validator.validate();
    Tokenizer tokenizer = prompts.tokenizer();
    String text = prompts.render(request.messages(), request.addGenerationPrompt());
    Prompt prompt =
        new PromptEncoder(tokenizer, info, request, params, validator.givenMaxTokens(), false)
            .encodeChat(tokenizer, text);
    return completions.prepare(
        "chatcmpl-",
        request,
        List.of(prompt),
        params,
        validator.n(),
        validator.n(),
        validator.report());
  }
}
