package dev.gregale.security;

import java.net.InetSocketAddress;
import org.springframework.http.HttpHeaders;
import org.springframework.security.core.context.ReactiveSecurityContextHolder;
import org.springframework.security.web.server.util.matcher.ServerWebExchangeMatcher;
import org.springframework.security.web.server.util.matcher.ServerWebExchangeMatchers;
import org.springframework.web.server.ServerWebExchange;
import org.springframework.web.server.WebFilter;
import org.springframework.web.server.WebFilterChain;
import reactor.core.publisher.Mono;

/**
 * Holds callers to their limits on the routes that use the model. A request counts until its answer
 * is out or its client is gone. Behind this filter the {@link Caller} is the exchange's principal,
 * also where nobody gave a key.
 */
public final class RateLimitFilter implements WebFilter {
  private static final ServerWebExchangeMatcher INFERENCE =
      ServerWebExchangeMatchers.pathMatchers(AccessPolicy.INFERENCE.toArray(String[]::new));

  private final RateLimits limits;
  private final AccessProperties defaults;

  public RateLimitFilter(RateLimits limits, AccessProperties defaults) {
    this.limits = limits;
    this.defaults = defaults;
  }

  @Override
  public Mono<Void> filter(ServerWebExchange exchange, WebFilterChain chain) {
    return INFERENCE
        .matches(exchange)
        .flatMap(match -> match.isMatch() ? limited(exchange, chain) : chain.filter(exchange));
  }

  private Mono<Void> limited(ServerWebExchange exchange, WebFilterChain chain) {
    return caller(exchange)
        .flatMap(
            caller ->
                Mono.using(
                    () -> limits.enter(caller),
                    admission -> {
                      tell(admission, exchange.getResponse().getHeaders());
                      return chain.filter(exchange.mutate().principal(Mono.just(caller)).build());
                    }));
  }

  private Mono<Caller> caller(ServerWebExchange exchange) {
    return ReactiveSecurityContextHolder.getContext()
        .flatMap(context -> Mono.justOrEmpty(context.getAuthentication()))
        .flatMap(authentication -> Mono.justOrEmpty(authentication.getPrincipal()))
        .ofType(Caller.class)
        .switchIfEmpty(Mono.fromSupplier(() -> anonymous(exchange)));
  }

  private Caller anonymous(ServerWebExchange exchange) {
    InetSocketAddress remote = exchange.getRequest().getRemoteAddress();
    String address =
        remote == null || remote.getAddress() == null
            ? "unknown"
            : remote.getAddress().getHostAddress();
    return new Caller(
        address, Role.ANONYMOUS, defaults.requestsPerMinute(), defaults.maxConcurrentRequests());
  }

  /** The headers that OpenAI's clients know. */
  private static void tell(RateLimits.Admission admission, HttpHeaders headers) {
    if (admission.limit() != 0) {
      headers.set("x-ratelimit-limit-requests", Integer.toString(admission.limit()));
      headers.set("x-ratelimit-remaining-requests", Long.toString(admission.remaining()));
    }
  }
}
