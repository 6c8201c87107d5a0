package dev.gregale.web;

import org.jspecify.annotations.Nullable;
import org.springframework.http.HttpHeaders;
import org.springframework.http.HttpStatus;

/** A refusal as the client is to see it: status, headers and OpenAI's error object. */
final class ApiException extends RuntimeException {
  private static final String INVALID_REQUEST = "invalid_request_error";

  private final HttpStatus status;
  private final ErrorResponse body;
  private final HttpHeaders headers = new HttpHeaders();

  ApiException(
      HttpStatus status,
      String message,
      String type,
      @Nullable String param,
      @Nullable String code) {
    super(message, null, false, false);
    this.status = status;
    this.body = new ErrorResponse(new ErrorResponse.Detail(message, type, param, code));
  }

  /** A request that cannot be served as it stands. */
  static ApiException badRequest(@Nullable String param, String message) {
    return badRequest(param, message, null);
  }

  static ApiException badRequest(@Nullable String param, String message, @Nullable String code) {
    return new ApiException(HttpStatus.BAD_REQUEST, message, INVALID_REQUEST, param, code);
  }

  /** A 4xx that is not about one field. */
  static ApiException refused(HttpStatus status, String message, String code) {
    return new ApiException(status, message, INVALID_REQUEST, null, code);
  }

  static ApiException modelNotFound(String model, String served) {
    return new ApiException(
        HttpStatus.NOT_FOUND,
        "The model " + Quoted.of(model) + " does not exist; this server has " + Quoted.of(served),
        INVALID_REQUEST,
        "model",
        "model_not_found");
  }

  ApiException withHeader(String name, String value) {
    headers.set(name, value);
    return this;
  }

  HttpStatus status() {
    return status;
  }

  ErrorResponse body() {
    return body;
  }

  HttpHeaders headers() {
    return headers;
  }
}
