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

  /**
   * What limits are counted and computed prefixes kept apart by: no two callers have the same, for
   * a key may be named like another of another role, or like an address.
   */
  @Override
  public String getName() {
    return role + ":" + name;
  }
}
