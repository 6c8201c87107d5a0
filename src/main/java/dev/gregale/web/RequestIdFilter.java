package dev.gregale.web;

import java.util.UUID;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;
import org.springframework.core.Ordered;
import org.springframework.core.annotation.Order;
import org.springframework.stereotype.Component;
import org.springframework.web.server.ServerWebExchange;
import org.springframework.web.server.WebFilter;
import org.springframework.web.server.WebFilterChain;
import reactor.core.publisher.Mono;

/** Gives every exchange a request id: the client's own if it is a sane one, else a new one. */
@Component
@Order(Ordered.HIGHEST_PRECEDENCE)
final class RequestIdFilter implements WebFilter {
  static final String HEADER = "X-Request-Id";
  private static final String ATTRIBUTE = RequestIdFilter.class.getName();
  private static final Pattern SANE = Pattern.compile("[A-Za-z0-9._:-]{1,128}");

  @Override
  public Mono<Void> filter(ServerWebExchange exchange, WebFilterChain chain) {
    exchange.getResponse().getHeaders().set(HEADER, idOf(exchange));
    return chain.filter(exchange);
  }

  /** The id of an exchange, also of one that failed before the filter saw it. */
  static String idOf(ServerWebExchange exchange) {
    String known = exchange.getAttribute(ATTRIBUTE);
    if (known != null) {
      return known;
    }
    String id = saneOrNew(exchange.getRequest().getHeaders().getFirst(HEADER));
    exchange.getAttributes().put(ATTRIBUTE, id);
    return id;
  }

  private static String saneOrNew(@Nullable String given) {
    return given != null && SANE.matcher(given).matches() ? given : "req-" + UUID.randomUUID();
  }
}
