package dev.gregale.web;

import dev.gregale.engine.EngineOverloadedException;
import dev.gregale.engine.EngineUnavailableException;
import dev.gregale.security.RateLimitException;
import java.util.Locale;
import java.util.Objects;
import org.springframework.http.HttpHeaders;
import org.springframework.http.HttpStatus;
import org.springframework.http.server.reactive.ServerHttpRequest;
import org.springframework.security.access.AccessDeniedException;
import org.springframework.security.authentication.AuthenticationCredentialsNotFoundException;
import org.springframework.security.core.AuthenticationException;
import org.springframework.security.web.server.firewall.ServerExchangeRejectedException;
import org.springframework.web.server.MethodNotAllowedException;
import org.springframework.web.server.UnsupportedMediaTypeStatusException;
import reactor.core.Exceptions;

/** Decides what a client is told about a failure. Never passes on the text of an unknown one. */
final class ErrorTranslator {
  private static final String SERVER_ERROR = "server_error";
  private static final String RETRY_AFTER_SECONDS = "5";

  private ErrorTranslator() {}

  static ApiException translate(Throwable failure, ServerHttpRequest request, String requestId) {
    return switch (Exceptions.unwrap(failure)) {
      case ApiException e -> e;
      case EngineOverloadedException e ->
          new ApiException(
                  HttpStatus.TOO_MANY_REQUESTS,
                  Objects.requireNonNullElse(e.getMessage(), "The server is overloaded")
                      + "; try again in "
                      + e.retryAfterSeconds()
                      + " s",
                  "rate_limit_error",
                  null,
                  "engine_overloaded")
              .withHeader(HttpHeaders.RETRY_AFTER, Integer.toString(e.retryAfterSeconds()));
      case EngineUnavailableException e ->
          new ApiException(
                  HttpStatus.SERVICE_UNAVAILABLE,
                  "The engine is not available; try again later. Request id: " + requestId,
                  SERVER_ERROR,
                  null,
                  "engine_unavailable")
              .withHeader(HttpHeaders.RETRY_AFTER, RETRY_AFTER_SECONDS);
      case RateLimitException e ->
          new ApiException(
                  HttpStatus.TOO_MANY_REQUESTS,
                  e.getMessage() + "; try again in " + e.retryAfterSeconds() + " s",
                  "rate_limit_error",
                  null,
                  e.code())
              .withHeader(HttpHeaders.RETRY_AFTER, Integer.toString(e.retryAfterSeconds()));
      case AuthenticationCredentialsNotFoundException e ->
          unauthenticated("No API key was given; send it as 'Authorization: Bearer KEY'");
      case AuthenticationException e ->
          unauthenticated("The API key is not one of this server's; check it");
      case AccessDeniedException e ->
          ApiException.refused(
              HttpStatus.FORBIDDEN, "This API key does not open " + call(request), "forbidden");
      case ServerExchangeRejectedException e ->
          ApiException.refused(
              HttpStatus.BAD_REQUEST,
              "The request is refused for its host, method, URL or headers. A server without API"
                  + " keys answers only to localhost; URLs must be plain, without encoded dots,"
                  + " double slashes, backslashes or semicolons",
              "malformed_request");
      case org.springframework.web.ErrorResponse e when e.getStatusCode().is4xxClientError() ->
          ofFramework(e, request);
      case Throwable e ->
          new ApiException(
              HttpStatus.INTERNAL_SERVER_ERROR,
              "The server failed on this request. Request id: " + requestId,
              SERVER_ERROR,
              null,
              "internal_error");
    };
  }

  private static ApiException unauthenticated(String message) {
    return ApiException.refused(HttpStatus.UNAUTHORIZED, message, "invalid_api_key")
        .withHeader(HttpHeaders.WWW_AUTHENTICATE, "Bearer realm=\"gregale\"");
  }

  private static String call(ServerHttpRequest request) {
    return request.getMethod() + " " + Quoted.cut(request.getPath().value());
  }

  private static ApiException ofFramework(
      org.springframework.web.ErrorResponse e, ServerHttpRequest request) {
    String call = call(request);
    HttpStatus status =
        Objects.requireNonNullElse(
            HttpStatus.resolve(e.getStatusCode().value()), HttpStatus.BAD_REQUEST);
    String message =
        switch (e) {
          case MethodNotAllowedException m ->
              call + " is not allowed; use one of " + m.getSupportedMethods();
          case UnsupportedMediaTypeStatusException m ->
              "The Content-Type is "
                  + (m.getContentType() == null ? "missing" : Quoted.of(m.getContentType() + ""))
                  + "; send application/json";
          default ->
              status == HttpStatus.NOT_FOUND
                  ? "There is no " + call + "; /v3/api-docs lists what there is"
                  : status.getReasonPhrase() + ": " + call;
        };
    ApiException answer = ApiException.refused(status, message, codeOf(status));
    e.getHeaders().forEach((name, values) -> answer.withHeader(name, String.join(",", values)));
    return answer;
  }

  private static String codeOf(HttpStatus status) {
    return status == HttpStatus.NOT_FOUND ? "unknown_url" : status.name().toLowerCase(Locale.ROOT);
  }
}
