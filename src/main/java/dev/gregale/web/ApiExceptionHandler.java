package dev.gregale.web;

import io.micrometer.core.instrument.Counter;
import io.micrometer.core.instrument.MeterRegistry;
import java.util.Objects;
import java.util.Set;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import org.springframework.core.annotation.Order;
import org.springframework.http.HttpMethod;
import org.springframework.http.HttpStatus;
import org.springframework.http.MediaType;
import org.springframework.http.ProblemDetail;
import org.springframework.http.server.reactive.ServerHttpResponse;
import org.springframework.stereotype.Component;
import org.springframework.web.server.ServerWebExchange;
import org.springframework.web.server.WebExceptionHandler;
import org.springframework.web.util.DisconnectedClientHelper;
import reactor.core.publisher.Mono;

/**
 * The one writer of errors: OpenAI's error object under {@code /v1} and on vLLM's routes,
 * problem+json (RFC 9457) elsewhere, whoever raised the error.
 */
@Component
@Order(-2) // before Spring's own handlers
final class ApiExceptionHandler implements WebExceptionHandler {
  private static final Logger log = LoggerFactory.getLogger(ApiExceptionHandler.class);

  /** vLLM's own routes, whose errors are OpenAI's too. */
  private static final Set<String> VLLM_PATHS = Set.of("/tokenize", "/detokenize");

  private final JsonReplies replies;
  private final MeterRegistry registry;
  private final boolean amongOtherRoutes;

  ApiExceptionHandler(JsonReplies replies, MeterRegistry registry, EndpointProperties endpoints) {
    this.replies = replies;
    this.registry = registry;
    amongOtherRoutes = endpoints.enabled();
  }

  @Override
  public Mono<Void> handle(ServerWebExchange exchange, Throwable failure) {
    ServerHttpResponse response = exchange.getResponse();
    if (response.isCommitted() || amongOtherRoutes && !isOpenAi(exchange)) {
      return Mono.error(failure);
    }
    if (DisconnectedClientHelper.isClientDisconnectedException(failure)) {
      return Mono.empty(); // nobody is there to answer, and nothing to log
    }
    ApiException answer = translate(exchange, failure);
    count(answer);
    response.setStatusCode(answer.status());
    response.getHeaders().putAll(answer.headers());
    if (exchange.getRequest().getMethod() == HttpMethod.HEAD) {
      return response.setComplete();
    }
    return isOpenAi(exchange)
        ? replies.write(response, MediaType.APPLICATION_JSON, answer.body())
        : replies.write(
            response, MediaType.APPLICATION_PROBLEM_JSON, problem(exchange, answer, failure));
  }

  /** Status and code are a few words of our own, so that the tags stay few. */
  private void count(ApiException answer) {
    Counter.builder("gregale.api.errors")
        .description("Requests answered with an error")
        .tag("status", Integer.toString(answer.status().value()))
        .tag("code", Objects.requireNonNullElse(answer.body().error().code(), "none"))
        .register(registry)
        .increment();
  }

  /** What the client is told; failures of the server itself are logged here. */
  static ApiException translate(ServerWebExchange exchange, Throwable failure) {
    String requestId = RequestIdFilter.idOf(exchange);
    ApiException answer = ErrorTranslator.translate(failure, exchange.getRequest(), requestId);
    if (answer.status() == HttpStatus.INTERNAL_SERVER_ERROR) {
      log.error("Request {} failed", requestId, failure);
    } else {
      log.debug("Request {}: {} {}", requestId, answer.status(), answer.getMessage());
    }
    return answer;
  }

  private static boolean isOpenAi(ServerWebExchange exchange) {
    String path = exchange.getRequest().getPath().pathWithinApplication().value();
    return path.equals("/v1") || path.startsWith("/v1/") || VLLM_PATHS.contains(path);
  }

  private static ProblemDetail problem(
      ServerWebExchange exchange, ApiException answer, Throwable failure) {
    ProblemDetail problem =
        failure instanceof org.springframework.web.ErrorResponse e
                && e.getStatusCode().is4xxClientError()
            ? e.getBody()
            : ProblemDetail.forStatusAndDetail(answer.status(), answer.body().error().message());
    ErrorResponse.Detail detail = answer.body().error();
    if (detail.param() != null) {
      problem.setProperty("param", detail.param());
    }
    if (detail.code() != null) {
      problem.setProperty("code", detail.code());
    }
    problem.setProperty("requestId", RequestIdFilter.idOf(exchange));
    return problem;
  }
}
