package dev.gregale.web;

import org.springframework.boot.context.properties.ConfigurationProperties;
import org.springframework.boot.context.properties.bind.DefaultValue;

/**
 * For an application that has Gregale as a library.
 *
 * @param enabled Serve /v1/completions, /v1/chat/completions, /v1/models, /tokenize and /detokenize
 *     beside the application's own routes. Who may call them is for the application's security to
 *     say.
 */
@ConfigurationProperties("gregale.endpoints")
public record EndpointProperties(@DefaultValue("false") boolean enabled) {}
