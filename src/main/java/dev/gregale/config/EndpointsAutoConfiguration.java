package dev.gregale.config;

import dev.gregale.web.ApiProperties;
import dev.gregale.web.EndpointProperties;
import dev.gregale.web.ModelRoutes;
import org.springframework.boot.autoconfigure.AutoConfiguration;
import org.springframework.boot.autoconfigure.condition.ConditionalOnProperty;
import org.springframework.boot.autoconfigure.condition.ConditionalOnWebApplication;
import org.springframework.boot.autoconfigure.condition.ConditionalOnWebApplication.Type;
import org.springframework.boot.context.properties.EnableConfigurationProperties;
import org.springframework.context.annotation.Import;

/** The model's routes in another WebFlux application, where it asks for them. */
@AutoConfiguration(after = GregaleAutoConfiguration.class)
@ConditionalOnProperty("gregale.endpoints.enabled")
@ConditionalOnWebApplication(type = Type.REACTIVE)
@EnableConfigurationProperties({ApiProperties.class, EndpointProperties.class})
@Import(ModelRoutes.class)
public class EndpointsAutoConfiguration {}
