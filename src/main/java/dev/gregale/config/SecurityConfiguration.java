package dev.gregale.config;

import dev.gregale.security.AccessPolicy;
import dev.gregale.security.AccessProperties;
import dev.gregale.security.AdminProperties;
import dev.gregale.security.ApiKeyAuthenticationManager;
import dev.gregale.security.ApiKeys;
import dev.gregale.security.BearerKeyConverter;
import dev.gregale.security.RateLimitFilter;
import dev.gregale.security.RateLimits;
import dev.gregale.security.Role;
import java.time.Duration;
import java.util.List;
import org.springframework.context.annotation.Bean;
import org.springframework.context.annotation.Configuration;
import org.springframework.security.authentication.ReactiveAuthenticationManager;
import org.springframework.security.config.annotation.web.reactive.EnableWebFluxSecurity;
import org.springframework.security.config.web.server.SecurityWebFiltersOrder;
import org.springframework.security.config.web.server.ServerHttpSecurity;
import org.springframework.security.config.web.server.ServerHttpSecurity.AuthorizeExchangeSpec;
import org.springframework.security.config.web.server.ServerHttpSecurity.CorsSpec;
import org.springframework.security.config.web.server.ServerHttpSecurity.CsrfSpec;
import org.springframework.security.config.web.server.ServerHttpSecurity.FormLoginSpec;
import org.springframework.security.config.web.server.ServerHttpSecurity.HeaderSpec;
import org.springframework.security.config.web.server.ServerHttpSecurity.HttpBasicSpec;
import org.springframework.security.config.web.server.ServerHttpSecurity.LogoutSpec;
import org.springframework.security.config.web.server.ServerHttpSecurity.RequestCacheSpec;
import org.springframework.security.web.server.SecurityWebFilterChain;
import org.springframework.security.web.server.ServerAuthenticationEntryPoint;
import org.springframework.security.web.server.authentication.AuthenticationWebFilter;
import org.springframework.security.web.server.authentication.ServerAuthenticationEntryPointFailureHandler;
import org.springframework.security.web.server.context.NoOpServerSecurityContextRepository;
import org.springframework.web.cors.CorsConfiguration;
import org.springframework.web.cors.reactive.UrlBasedCorsConfigurationSource;
import reactor.core.publisher.Mono;

/**
 * Which key opens which route. Every refusal is an error that goes to the one writer of errors;
 * nothing is kept between requests, so there is neither session nor CSRF.
 */
@Configuration(proxyBeanMethods = false)
@EnableWebFluxSecurity
public class SecurityConfiguration {

  @Bean
  AccessPolicy accessPolicy(AccessProperties access, AdminProperties admin) {
    return AccessPolicy.of(access, admin);
  }

  @Bean
  ReactiveAuthenticationManager apiKeyAuthentication(
      AccessProperties access, AdminProperties admin, AccessPolicy policy) {
    try {
      return new ApiKeyAuthenticationManager(new ApiKeys(access, admin), policy);
    } catch (IllegalArgumentException e) {
      throw new StartupException(
          ExitCode.CONFIG, "gregale.api.keys, gregale.admin.keys: " + e.getMessage());
    }
  }

  @Bean
  SecurityWebFilterChain apiSecurity(
      ServerHttpSecurity http,
      ReactiveAuthenticationManager keys,
      AccessPolicy policy,
      AccessProperties access) {
    ServerAuthenticationEntryPoint unauthenticated = (exchange, e) -> Mono.error(e);
    AuthenticationWebFilter keyFilter = new AuthenticationWebFilter(keys);
    keyFilter.setServerAuthenticationConverter(new BearerKeyConverter());
    keyFilter.setSecurityContextRepository(NoOpServerSecurityContextRepository.getInstance());
    keyFilter.setAuthenticationFailureHandler(
        new ServerAuthenticationEntryPointFailureHandler(unauthenticated));
    return http.csrf(CsrfSpec::disable)
        .httpBasic(HttpBasicSpec::disable)
        .formLogin(FormLoginSpec::disable)
        .logout(LogoutSpec::disable)
        .requestCache(RequestCacheSpec::disable)
        .headers(HeaderSpec::disable) // SecurityHeadersConfiguration sets them on refusals too
        .securityContextRepository(NoOpServerSecurityContextRepository.getInstance())
        .cors(cors -> configure(cors, access.corsAllowedOrigins()))
        .addFilterAt(keyFilter, SecurityWebFiltersOrder.AUTHENTICATION)
        .addFilterAfter(
            new RateLimitFilter(new RateLimits(), access), SecurityWebFiltersOrder.AUTHORIZATION)
        .exceptionHandling(
            handling ->
                handling
                    .authenticationEntryPoint(unauthenticated)
                    .accessDeniedHandler((exchange, e) -> Mono.error(e)))
        .authorizeExchange(routes -> authorize(routes, policy))
        .build();
  }

  private static void authorize(AuthorizeExchangeSpec routes, AccessPolicy policy) {
    routes.pathMatchers(paths(AccessPolicy.PUBLIC)).permitAll();
    open(routes, AccessPolicy.METRICS, policy.metricsOpen(), Role.ADMIN);
    open(routes, AccessPolicy.INFERENCE, policy.inferenceOpen(), Role.INFERENCE, Role.ADMIN);
    open(routes, AccessPolicy.ADMIN, policy.adminOpen(), Role.ADMIN);
    if (policy.adminOpen()) {
      routes.anyExchange().permitAll(); // there is nothing, which a 404 tells better
    } else {
      routes.anyExchange().denyAll();
    }
  }

  private static void open(
      AuthorizeExchangeSpec routes, List<String> paths, boolean toAll, Role... roles) {
    AuthorizeExchangeSpec.Access access = routes.pathMatchers(paths(paths));
    if (toAll) {
      access.permitAll();
    } else {
      String[] authorities = new String[roles.length];
      for (int i = 0; i < roles.length; i++) {
        authorities[i] = roles[i].authority();
      }
      access.hasAnyAuthority(authorities);
    }
  }

  private static String[] paths(List<String> paths) {
    return paths.toArray(String[]::new);
  }

  /** No other origin's page may read an answer, unless it is named. */
  private static void configure(CorsSpec cors, List<String> origins) {
    if (origins.isEmpty()) {
      cors.disable();
      return;
    }
    CorsConfiguration rules = new CorsConfiguration();
    rules.setAllowedOrigins(origins);
    rules.setAllowedMethods(List.of("GET", "POST"));
    rules.addAllowedHeader(CorsConfiguration.ALL);
    rules.setExposedHeaders(List.of("X-Request-Id", "Retry-After"));
    rules.setMaxAge(Duration.ofHours(1));
    UrlBasedCorsConfigurationSource source = new UrlBasedCorsConfigurationSource();
    AccessPolicy.INFERENCE.forEach(path -> source.registerCorsConfiguration(path, rules));
    cors.configurationSource(source);
  }
}
