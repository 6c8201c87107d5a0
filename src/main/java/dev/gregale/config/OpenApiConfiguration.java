package dev.gregale.config;

import io.swagger.v3.oas.models.Components;
import io.swagger.v3.oas.models.OpenAPI;
import io.swagger.v3.oas.models.examples.Example;
import io.swagger.v3.oas.models.headers.Header;
import io.swagger.v3.oas.models.info.Info;
import io.swagger.v3.oas.models.media.Content;
import io.swagger.v3.oas.models.media.IntegerSchema;
import io.swagger.v3.oas.models.media.MediaType;
import io.swagger.v3.oas.models.media.Schema;
import io.swagger.v3.oas.models.responses.ApiResponse;
import io.swagger.v3.oas.models.security.SecurityRequirement;
import io.swagger.v3.oas.models.security.SecurityScheme;
import java.util.LinkedHashMap;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import org.springdoc.core.customizers.OpenApiCustomizer;
import org.springframework.context.annotation.Bean;
import org.springframework.context.annotation.Configuration;

/** The OpenAPI document: its head, the errors that all routes share. */
@Configuration(proxyBeanMethods = false)
public class OpenApiConfiguration {
  private static final String API_KEY = "apiKey";

  @Bean
  OpenAPI openApi() {
    return new OpenAPI()
        .info(
            new Info()
                .title("Gregale")
                .version("v1")
                .description(
                    "Serves Mixtral-style Mixture-of-Experts models behind OpenAI's API. Errors under"
                        + " /v1 are OpenAI's error object. Every answer carries X-Request-Id: the"
                        + " client's own or a new one."))
        .addSecurityItem(new SecurityRequirement().addList(API_KEY))
        .addSecurityItem(new SecurityRequirement()) // none, where the server has no keys
        .components(
            new Components()
                .addSecuritySchemes(
                    API_KEY,
                    new SecurityScheme()
                        .type(SecurityScheme.Type.HTTP)
                        .scheme("bearer")
                        .description("A key of gregale.api.keys, where there are any."))
                .addResponses(
                    "Unauthenticated",
                    error(
                        "The server has keys, and the request has none of them.",
                        "The API key is not one of this server's; check it",
                        "invalid_request_error",
                        null,
                        "invalid_api_key"))
                .addResponses(
                    "ModelNotFound",
                    error(
                        "There is no such model.",
                        "The model 'gpt-9' does not exist; this server has 'fairytale-moe-7m'",
                        "invalid_request_error",
                        "model",
                        "model_not_found"))
                .addResponses(
                    "RequestTooLarge",
                    error(
                        "The body is too large (gregale.api.max-request-size).",
                        "The request body is larger than 2097152 bytes, the limit of this server",
                        "invalid_request_error",
                        null,
                        "request_too_large"))
                .addResponses(
                    "UnsupportedMediaType",
                    error(
                        "The body is not declared as application/json.",
                        "The Content-Type is 'text/plain'; send application/json",
                        "invalid_request_error",
                        null,
                        "unsupported_media_type"))
                .addResponses(
                    "Overloaded",
                    retryable(
                        error(
                            "The queue is full, or the key is over its limit; try again after Retry-After"
                                + " seconds.",
                            "The queue is full; try again in 2 s",
                            "rate_limit_error",
                            null,
                            "engine_overloaded")))
                .addResponses(
                    "InternalError",
                    error(
                        "The server failed; its log has the cause under the request id.",
                        "The server failed on this request. Request id: req-1f0c",
                        "server_error",
                        null,
                        "internal_error"))
                .addResponses(
                    "Unavailable",
                    retryable(
                        error(
                            "The engine is starting, stopping or has failed.",
                            "The engine is not available; try again later. Request id: req-1f0c",
                            "server_error",
                            null,
                            "engine_unavailable"))));
  }

  @Bean
  OpenApiCustomizer conversionResponses() {
    return api -> ConversionResponses.addTo(api.getComponents());
  }

  @Bean
  OpenApiCustomizer schemas() {
    return new SchemaCustomizer();
  }

  private static ApiResponse error(
      String description, String message, String type, @Nullable String param, String code) {
    Map<String, @Nullable Object> detail = new LinkedHashMap<>();
    detail.put("message", message);
    detail.put("type", type);
    detail.put("param", param);
    detail.put("code", code);
    MediaType json =
        new MediaType()
            .schema(new Schema<>().$ref("#/components/schemas/ErrorResponse"))
            .addExamples(code, new Example().value(Map.of("error", detail)));
    return new ApiResponse()
        .description(description)
        .content(new Content().addMediaType("application/json", json));
  }

  private static ApiResponse retryable(ApiResponse response) {
    return response.addHeaderObject(
        "Retry-After", new Header().description("Seconds to wait.").schema(new IntegerSchema()));
  }
}
