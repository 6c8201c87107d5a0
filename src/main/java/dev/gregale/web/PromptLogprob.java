package dev.gregale.web;

import com.fasterxml.jackson.annotation.JsonInclude;
import com.fasterxml.jackson.annotation.JsonProperty;
import com.fasterxml.jackson.annotation.JsonPropertyOrder;
import dev.gregale.engine.TokenLogprob;
import io.swagger.v3.oas.annotations.media.Schema;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * One token that might have stood at a place of the prompt, in vLLM's shape.
 *
 * @param rank 1 for the likeliest; null for a token beyond those that were asked for
 */
@JsonInclude(JsonInclude.Include.ALWAYS)
@JsonPropertyOrder({"logprob", "rank", "decoded_token"})
record PromptLogprob(
    float logprob,
    @Schema(description = "1 for the likeliest; null beyond the number asked for.")
        @Nullable Integer rank,
    @JsonProperty("decoded_token") String decodedToken) {

  /**
   * By place and token id: the prompt's own token first, then the likeliest. Null at the first
   * place, which nothing precedes.
   *
   * @param top how many of the likeliest
   */
  static List<@Nullable Map<Integer, PromptLogprob>> of(
      List<TokenLogprob> tokens, int top, TokenTexts texts) {
    List<@Nullable Map<Integer, PromptLogprob>> places = new ArrayList<>();
    for (TokenLogprob token : tokens) {
      places.add(Float.isNaN(token.logprob()) ? null : at(token, top, texts));
    }
    return places;
  }

  private static Map<Integer, PromptLogprob> at(TokenLogprob token, int top, TokenTexts texts) {
    Map<Integer, PromptLogprob> place = new LinkedHashMap<>();
    place.put(token.tokenId(), of(token.tokenId(), token.logprob(), null, texts));
    for (int i = 0; i < Math.min(top, token.topTokenIds().length); i++) {
      int id = token.topTokenIds()[i];
      place.put(id, of(id, token.topLogprobs()[i], i + 1, texts));
    }
    return place;
  }

  private static PromptLogprob of(int id, float logprob, @Nullable Integer rank, TokenTexts texts) {
    return new PromptLogprob(LogprobsCollector.finite(logprob), rank, texts.inside(id).shown());
  }
}
