package dev.gregale.security;

import org.springframework.http.HttpHeaders;
import org.springframework.security.authentication.UsernamePasswordAuthenticationToken;
import org.springframework.security.core.Authentication;
import org.springframework.security.web.server.authentication.ServerAuthenticationConverter;
import org.springframework.web.server.ServerWebExchange;
import reactor.core.publisher.Mono;

/** Takes the key from {@code Authorization: Bearer KEY}, where OpenAI's clients put it. */
public final class BearerKeyConverter implements ServerAuthenticationConverter {
  private static final String SCHEME = "Bearer ";

  @Override
  public Mono<Authentication> convert(ServerWebExchange exchange) {
    String header = exchange.getRequest().getHeaders().getFirst(HttpHeaders.AUTHORIZATION);
    if (header == null || !header.regionMatches(true, 0, SCHEME, 0, SCHEME.length())) {
      return Mono.empty();
    }
    String key = header.substring(SCHEME.length()).strip();
    return key.isEmpty()
        ? Mono.empty()
        : Mono.just(UsernamePasswordAuthenticationToken.unauthenticated("", key));
  }
}
