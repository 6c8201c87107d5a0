package dev.gregale.security;

import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.HexFormat;
import java.util.List;
import java.util.Objects;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/** The configured keys, as hashes. Safe for use by several threads. */
public final class ApiKeys {
  private static final int MAX_KEY_CHARS = 512;

  private record Entry(byte[] sha256, Caller caller) {}

  private final List<Entry> entries = new ArrayList<>();

  /**
   * @throws IllegalArgumentException if two entries share a name or a key: what an admin key opens
   *     must not be open to an inference key too
   */
  public ApiKeys(AccessProperties access, AdminProperties admin) {
    access.keys().forEach(key -> add(key, Role.INFERENCE, access));
    admin.keys().forEach(key -> add(key, Role.ADMIN, access));
    Set<String> seen = new HashSet<>();
    for (Entry entry : entries) {
      String name = entry.caller().name();
      if (!seen.add("name " + name)) {
        throw new IllegalArgumentException("two keys have the name '" + name + "'");
      }
      if (!seen.add("key " + HexFormat.of().formatHex(entry.sha256()))) {
        throw new IllegalArgumentException("the key '" + name + "' is configured twice");
      }
    }
  }

  private void add(KeyProperties key, Role role, AccessProperties defaults) {
    Caller caller =
        new Caller(
            key.name(),
            role,
            Objects.requireNonNullElse(key.requestsPerMinute(), defaults.requestsPerMinute()),
            Objects.requireNonNullElse(
                key.maxConcurrentRequests(), defaults.maxConcurrentRequests()));
    entries.add(new Entry(HexFormat.of().parseHex(key.sha256()), caller));
  }

  /**
   * Whose key this is; null if nobody's. Takes the same time whichever key it is and however much
   * of one is right: hashes are compared, in constant time, with every entry.
   */
  public @Nullable Caller find(String key) {
    if (key.length() > MAX_KEY_CHARS) {
      return null;
    }
    byte[] presented = sha256(key);
    Caller found = null;
    for (Entry entry : entries) {
      if (MessageDigest.isEqual(presented, entry.sha256())) {
        found = entry.caller();
      }
    }
    return found;
  }

  /** What is configured in place of a key. */
  public static byte[] sha256(String key) {
    try {
      return MessageDigest.getInstance("SHA-256").digest(key.getBytes(StandardCharsets.UTF_8));
    } catch (NoSuchAlgorithmException e) {
      throw new IllegalStateException(e); // every JDK has it
    }
  }
}
