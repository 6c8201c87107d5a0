package dev.gregale.web;

import io.swagger.v3.oas.annotations.media.Content;
import io.swagger.v3.oas.annotations.media.ExampleObject;
import io.swagger.v3.oas.annotations.media.Schema;
import io.swagger.v3.oas.annotations.responses.ApiResponse;
import java.lang.annotation.ElementType;
import java.lang.annotation.Retention;
import java.lang.annotation.RetentionPolicy;
import java.lang.annotation.Target;
import org.springframework.http.MediaType;
import org.springframework.http.ProblemDetail;

/** Documents the errors that all routes of conversion share. */
@ApiResponse(
    responseCode = "403",
    description = "Conversion is off, or a name leads out of gregale.convert.roots.",
    content =
        @Content(
            mediaType = MediaType.APPLICATION_PROBLEM_JSON_VALUE,
            schema = @Schema(implementation = ProblemDetail.class),
            examples = @ExampleObject(AdminErrors.OFF)))
@ApiResponse(
    responseCode = "404",
    description = "There is no such job, or no such directory.",
    content =
        @Content(
            mediaType = MediaType.APPLICATION_PROBLEM_JSON_VALUE,
            schema = @Schema(implementation = ProblemDetail.class)))
@Target(ElementType.METHOD)
@Retention(RetentionPolicy.RUNTIME)
@interface AdminErrors {
  String OFF =
      """
      {"title": "Forbidden", "status": 403, "code": "conversion_off", "requestId": "req-1f0c",
       "detail": "Conversion over HTTP is off; set gregale.convert.roots to the directories that \
      sources and targets may lie in"}""";
}
