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

/** Documents the errors of a route that reads JSON and generates. */
@ApiResponse(
    responseCode = "400",
    description = "The request cannot be served as it stands; `param` names the field.",
    content =
        @Content(
            mediaType = MediaType.APPLICATION_JSON_VALUE,
            schema = @Schema(implementation = ErrorResponse.class),
            examples = @ExampleObject(GenerationErrors.BAD_REQUEST)))
@ApiResponse(responseCode = "401", ref = "#/components/responses/Unauthenticated")
@ApiResponse(responseCode = "404", ref = "#/components/responses/ModelNotFound")
@ApiResponse(responseCode = "413", ref = "#/components/responses/RequestTooLarge")
@ApiResponse(responseCode = "415", ref = "#/components/responses/UnsupportedMediaType")
@ApiResponse(responseCode = "429", ref = "#/components/responses/Overloaded")
@ApiResponse(responseCode = "500", ref = "#/components/responses/InternalError")
@ApiResponse(responseCode = "503", ref = "#/components/responses/Unavailable")
@Target(ElementType.METHOD)
@Retention(RetentionPolicy.RUNTIME)
@interface GenerationErrors {
  String BAD_REQUEST =
      """
      {"error": {"message": "temperature must be between 0 and 2, but is 3.5",
       "type": "invalid_request_error", "param": "temperature", "code": null}}""";
}
