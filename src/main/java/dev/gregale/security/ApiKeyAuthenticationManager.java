package dev.gregale.security;

import java.util.List;
import org.springframework.security.authentication.AnonymousAuthenticationToken;
import org.springframework.security.authentication.BadCredentialsException;
import org.springframework.security.authentication.ReactiveAuthenticationManager;
import org.springframework.security.authentication.UsernamePasswordAuthenticationToken;
import org.springframework.security.core.Authentication;
import org.springframework.security.core.GrantedAuthority;
import org.springframework.security.core.authority.SimpleGrantedAuthority;
import reactor.core.publisher.Mono;

/** Tells whose key a caller has. */
public final class ApiKeyAuthenticationManager implements ReactiveAuthenticationManager {
  private final ApiKeys keys;
  private final AccessPolicy policy;

  public ApiKeyAuthenticationManager(ApiKeys keys, AccessPolicy policy) {
    this.keys = keys;
    this.policy = policy;
  }

  /**
   * A key that is nobody's is an error, except where the model's routes need none: OpenAI's clients
   * always send one.
   */
  @Override
  public Mono<Authentication> authenticate(Authentication authentication) {
    Caller caller = keys.find(String.valueOf(authentication.getCredentials()));
    if (caller != null) {
      return Mono.just(
          UsernamePasswordAuthenticationToken.authenticated(
              caller, null, authorities(caller.role())));
    }
    return policy.inferenceOpen()
        ? Mono.just(
            new AnonymousAuthenticationToken(
                "gregale", Role.ANONYMOUS, authorities(Role.ANONYMOUS)))
        : Mono.error(new BadCredentialsException("The API key is not one of this server's"));
  }

  private static List<GrantedAuthority> authorities(Role role) {
    return List.of(new SimpleGrantedAuthority(role.authority()));
  }
}
