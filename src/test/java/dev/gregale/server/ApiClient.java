package dev.gregale.server;

import java.util.HashMap;
import java.util.List;
import java.util.Map;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/** A client of the API as its users drive it. */
interface ApiClient extends AutoCloseable {

  /** Pieces that are read of a stream before it is left. */
  int PIECES = 3;

  /** The text at once. */
  String complete(Ask ask) throws Exception;

  /** The text in pieces. */
  List<String> stream(Ask ask) throws Exception;

  /** Reads {@link #PIECES} pieces of a stream and cancels it; the client itself stays open. */
  void leave(Ask ask) throws Exception;

  /** What the client makes of a request that the server refuses. */
  Refusal refuse(Ask ask) throws Exception;

  @Override
  default void close() {}

  /**
   * @param kind the client's own word for it
   */
  record Refusal(int status, String kind, String message) {}

  /**
   * A request, greedy unless it is to be refused.
   *
   * @param chat whether to chat or to complete
   * @param endless to be cancelled: else it ends after 16 tokens, OpenAI's default
   */
  record Ask(boolean chat, String model, double temperature, boolean endless) {
    static final String TEXT = "Once upon a time";

    int maxTokens() {
      return endless ? 3000 : 16;
    }

    String path() {
      return chat ? "/v1/chat/completions" : "/v1/completions";
    }

    Map<String, Object> body(boolean stream) {
      Map<String, Object> body = new HashMap<>();
      body.put("model", model);
      body.put("temperature", temperature);
      body.put("stream", stream);
      if (chat) {
        body.put("messages", List.of(Map.of("role", "user", "content", TEXT)));
        body.put("max_completion_tokens", maxTokens());
      } else {
        body.put("prompt", TEXT);
        body.put("max_tokens", maxTokens());
      }
      if (endless) {
        body.put("ignore_eos", true);
      }
      return body;
    }

    String json(boolean stream) {
      return JsonMapper.shared().writeValueAsString(body(stream));
    }
  }

  /** The text of a reply or of an event. */
  static String text(String json) {
    JsonNode choice = JsonMapper.shared().readTree(json).at("/choices/0");
    for (String place : List.of("/text", "/message/content", "/delta/content")) {
      if (choice.at(place).isString()) {
        return choice.at(place).asString();
      }
    }
    return "";
  }

  /** The message of an error object. */
  static String message(String json) {
    return JsonMapper.shared().readTree(json).at("/error/message").asString();
  }
}
