package dev.gregale.web;

import org.springframework.context.annotation.Configuration;
import org.springframework.context.annotation.Import;

/**
 * The routes that use the model, for an application that has routes of its own; the server finds
 * these classes by scanning.
 */
@Configuration(proxyBeanMethods = false)
@Import({
  CompletionController.class,
  ChatController.class,
  ModelController.class,
  TokenizeController.class,
  RequestReader.class,
  RequestParser.class,
  RequestWorkers.class,
  BodyReader.class,
  ChatPrompts.class,
  CompletionService.class,
  CompletionFormat.class,
  ChatFormat.class,
  ResponseFormats.class,
  TokenTexts.class,
  JsonReplies.class,
  GenerationObserver.class,
  RequestIdFilter.class,
  ApiExceptionHandler.class
})
public class ModelRoutes {}
