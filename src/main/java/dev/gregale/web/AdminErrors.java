package dev.gregale.web;

import io.swagger.v3.oas.annotations.responses.ApiResponse;
import java.lang.annotation.ElementType;
import java.lang.annotation.Retention;
import java.lang.annotation.RetentionPolicy;
import java.lang.annotation.Target;

/** Documents the errors that all routes of conversion share. */
@ApiResponse(responseCode = "403", ref = "#/components/responses/ConversionForbidden")
@ApiResponse(responseCode = "404", ref = "#/components/responses/NoSuchConversion")
@Target(ElementType.METHOD)
@Retention(RetentionPolicy.RUNTIME)
@interface AdminErrors {}
