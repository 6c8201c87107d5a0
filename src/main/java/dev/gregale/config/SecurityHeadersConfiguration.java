package dev.gregale.config;

import dev.gregale.security.AccessPolicy;
import java.net.InetAddress;
import java.net.UnknownHostException;
import java.util.Locale;
import org.springframework.context.annotation.Bean;
import org.springframework.context.annotation.Configuration;
import org.springframework.core.Ordered;
import org.springframework.core.annotation.Order;
import org.springframework.security.web.server.firewall.ServerExchangeRejectedHandler;
import org.springframework.security.web.server.firewall.ServerWebExchangeFirewall;
import org.springframework.security.web.server.firewall.StrictServerWebExchangeFirewall;
import org.springframework.security.web.server.header.CacheControlServerHttpHeadersWriter;
import org.springframework.security.web.server.header.CompositeServerHttpHeadersWriter;
import org.springframework.security.web.server.header.HttpHeaderWriterWebFilter;
import org.springframework.security.web.server.header.ServerHttpHeadersWriter;
import org.springframework.security.web.server.header.StaticServerHttpHeadersWriter;
import org.springframework.security.web.server.header.StrictTransportSecurityServerHttpHeadersWriter;
import org.springframework.web.server.WebFilter;
import reactor.core.publisher.Mono;

/** What browsers are told with every answer, and which requests are refused for their form. */
@Configuration(proxyBeanMethods = false)
public class SecurityHeadersConfiguration {

  /**
   * Pages load what they need from this server alone. Swagger UI sets style attributes and shows
   * icons as data URLs; no page has scripts inside of its HTML.
   */
  static final String CONTENT_SECURITY_POLICY =
      "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:;"
          + " object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

  /** Before the security chain, so that its refusals have the headers too. */
  @Bean
  @Order(Ordered.HIGHEST_PRECEDENCE + 1)
  WebFilter securityHeaders() {
    ServerHttpHeadersWriter fixed =
        StaticServerHttpHeadersWriter.builder()
            .header("Content-Security-Policy", CONTENT_SECURITY_POLICY)
            .header("X-Content-Type-Options", "nosniff")
            .header("X-Frame-Options", "DENY")
            .header("Referrer-Policy", "no-referrer")
            .header("Cross-Origin-Opener-Policy", "same-origin")
            .header("Cross-Origin-Resource-Policy", "same-origin")
            .header("Permissions-Policy", "camera=(), geolocation=(), microphone=()")
            .build();
    return new HttpHeaderWriterWebFilter(
        new CompositeServerHttpHeadersWriter(
            fixed,
            new CacheControlServerHttpHeadersWriter(),
            new StrictTransportSecurityServerHttpHeadersWriter())); // over TLS only
  }

  /**
   * Refuses URLs that a proxy might read differently. As long as whoever reaches the server is let
   * in, it must have been called by a name of this machine: else any web page could reach it
   * through its reader's browser, under a name of its own (DNS rebinding).
   */
  @Bean
  ServerWebExchangeFirewall firewall(AccessPolicy policy) {
    StrictServerWebExchangeFirewall firewall = new StrictServerWebExchangeFirewall();
    firewall.setAllowUrlEncodedSlash(true); // OpenAI's clients encode the slash of a model's name
    if (policy.adminOpen()) {
      firewall.setAllowedHostnames(SecurityHeadersConfiguration::isThisMachine);
    }
    return firewall;
  }

  @Bean
  ServerExchangeRejectedHandler rejectedExchanges() {
    return (exchange, e) -> Mono.error(e);
  }

  static boolean isThisMachine(String host) {
    String name = host.toLowerCase(Locale.ROOT);
    if (name.equals("localhost") || name.endsWith(".localhost")) {
      return true;
    }
    boolean literal =
        name.startsWith("[") || name.chars().allMatch(c -> "0123456789.".indexOf(c) >= 0);
    try {
      return literal && InetAddress.getByName(name).isLoopbackAddress(); // looks nothing up
    } catch (UnknownHostException e) {
      return false;
    }
  }
}
