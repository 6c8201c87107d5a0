package dev.gregale.openai;

import java.util.Map;
import org.jspecify.annotations.Nullable;

/** Which schema a route's replies follow. */
final class Contract {
  private static final Map<String, String> ROUTES =
      Map.of(
          "/v1/completions", "completion",
          "/v1/chat/completions", "chat-completion",
          "/v1/models", "models",
          "/tokenize", "tokenize",
          "/detokenize", "detokenize");

  private Contract() {}

  /** Whether the contract has a say on this path at all. */
  static boolean covers(String path) {
    return path.equals("/v1") || path.startsWith("/v1/") || ROUTES.containsKey(path);
  }

  /** The schema of what the route answers if all is well; null for an unknown route. */
  static @Nullable String schemaOf(String path) {
    return path.startsWith("/v1/models/") ? "model" : ROUTES.get(path);
  }
}
