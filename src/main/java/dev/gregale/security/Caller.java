package dev.gregale.security;

import java.security.Principal;

/**
 * Who sent a request.
 *
 * @param name of the key; for anonymous callers their address
 * @param role what they may do
 * @param requestsPerMinute 0 for no limit
 * @param maxConcurrentRequests 0 for no limit
 */
public record Caller(String name, Role role, int requestsPerMinute, int maxConcurrentRequests)
    implements Principal {

  @Override
  public String getName() {
    return name;
  }

  /** What limits are counted by: a key's name cannot have a colon in it. */
  String limitKey() {
    return role + ":" + name;
  }
}
