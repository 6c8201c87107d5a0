package dev.gregale.web;

import io.swagger.v3.oas.annotations.Hidden;
import org.springframework.http.HttpStatus;
import org.springframework.web.bind.annotation.RequestMapping;
import org.springframework.web.bind.annotation.RestController;
import org.springframework.web.server.ServerWebExchange;
import reactor.core.publisher.Mono;

/** Routes that OpenAI's or vLLM's clients know and this server does not have: 501, not a 404. */
@RestController
@Hidden
final class UnservedRoutes {

  /** Errors with what is served instead. */
  @RequestMapping({
    "/v1/assistants/**",
    "/v1/audio/**",
    "/v1/batches/**",
    "/v1/containers/**",
    "/v1/conversations/**",
    "/v1/edits",
    "/v1/embeddings",
    "/v1/evals/**",
    "/v1/files/**",
    "/v1/fine_tuning/**",
    "/v1/images/**",
    "/v1/messages/**",
    "/v1/moderations",
    "/v1/realtime/**",
    "/v1/rerank",
    "/v1/responses/**",
    "/v1/score",
    "/v1/threads/**",
    "/v1/uploads/**",
    "/v1/vector_stores/**",
    "/v1/videos/**"
  })
  Mono<Void> unserved(ServerWebExchange exchange) {
    return Mono.error(
        ApiException.refused(
            HttpStatus.NOT_IMPLEMENTED,
            Quoted.cut(exchange.getRequest().getPath().value())
                + " is not implemented; this server has /v1/completions, /v1/chat/completions,"
                + " /v1/models, /tokenize and /detokenize",
            "not_implemented"));
  }
}
