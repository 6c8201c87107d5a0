package dev.gregale.web;

import static dev.gregale.web.Ranges.check;

import dev.gregale.engine.EngineInfo;
import dev.gregale.sampling.SamplingParams;
import dev.gregale.tokenizer.TextTooLongException;
import dev.gregale.tokenizer.Tokenizer;
import java.util.ArrayList;
import java.util.List;
import java.util.OptionalInt;
import org.jspecify.annotations.Nullable;

/** Turns the prompts of a request into token ids that fit the model; refuses it with a 400. */
final class PromptEncoder {
  private final @Nullable Tokenizer tokenizer;
  private final EngineInfo info;
  private final CompletionRequest request;
  private final SamplingParams params;

  PromptEncoder(
      @Nullable Tokenizer tokenizer,
      EngineInfo info,
      CompletionRequest request,
      SamplingParams params) {
    this.tokenizer = tokenizer;
    this.info = info;
    this.request = request;
    this.params = params;
  }

  List<Prompt> encode() {
    List<Prompt> prompts =
        switch (request.prompt()) {
          case null -> List.of(ofIds("prompt", bos()));
          case PromptInput.Texts(List<String> texts) -> ofTexts(texts);
          case PromptInput.TokenIds(List<int[]> ids) -> ofIdArrays(ids);
        };
    for (Prompt prompt : prompts) {
      checkLength(prompt.tokenIds().length);
    }
    return prompts;
  }

  private int[] bos() {
    OptionalInt bos = tokenizer == null ? OptionalInt.empty() : tokenizer.bosTokenId();
    check(
        bos.isPresent(),
        "prompt",
        "prompt is missing, and this checkpoint names no beginning-of-sequence token to start from;"
            + " give token ids");
    return new int[] {bos.getAsInt()};
  }

  private List<Prompt> ofTexts(List<String> texts) {
    if (tokenizer == null) {
      throw ApiException.badRequest(
          "prompt",
          "This checkpoint has no tokenizer, so prompt cannot be text; give it as token ids");
    }
    List<Prompt> prompts = new ArrayList<>();
    for (String text : texts) {
      check(
          !text.isEmpty(),
          "prompt",
          "prompt must not be an empty string; leave it out to start from nothing");
      check(
          isWellFormed(text),
          "prompt",
          "prompt holds half of a surrogate pair (as in \\ud83d alone), which is no character");
      prompts.add(new Prompt(encode(tokenizer, text), text));
    }
    return prompts;
  }

  private static int[] encode(Tokenizer tokenizer, String text) {
    try {
      return tokenizer.encode(text, true);
    } catch (TextTooLongException e) {
      throw ApiException.badRequest("prompt", "prompt: " + e.getMessage());
    }
  }

  private List<Prompt> ofIdArrays(List<int[]> arrays) {
    List<Prompt> prompts = new ArrayList<>();
    for (int i = 0; i < arrays.size(); i++) {
      prompts.add(ofIds(arrays.size() == 1 ? "prompt" : "prompt[" + i + "]", arrays.get(i)));
    }
    return prompts;
  }

  private Prompt ofIds(String where, int[] ids) {
    check(ids.length > 0, "prompt", where + " must not be an empty array");
    checkLength(ids.length);
    for (int i = 0; i < ids.length; i++) {
      if (ids[i] < 0 || ids[i] >= info.vocabSize()) {
        throw ApiException.badRequest(
            "prompt",
            "%s[%d] is token id %d, but the model's token ids run from 0 to %d"
                .formatted(where, i, ids[i], info.vocabSize() - 1));
      }
    }
    boolean textNeeded = Boolean.TRUE.equals(request.echo()) || params.logprobs() >= 0;
    return new Prompt(
        ids,
        tokenizer != null && textNeeded ? tokenizer.decode(ids, params.skipSpecialTokens()) : "");
  }

  /** An explicit max_tokens must fit too; a defaulted one ends where the context does. */
  private void checkLength(int promptTokens) {
    int completion =
        request.maxTokens() == null ? Math.min(1, params.maxTokens()) : params.maxTokens();
    if (promptTokens + completion > info.maxModelLen()) {
      throw ApiException.badRequest(
          "prompt",
          "The model's context holds %d tokens, but the request needs %d: %d in the prompt and %d"
                  .formatted(
                      info.maxModelLen(), promptTokens + completion, promptTokens, completion)
              + " to generate; shorten the prompt or max_tokens",
          "context_length_exceeded");
    }
  }

  private static boolean isWellFormed(String text) {
    return text.codePoints()
        .noneMatch(c -> c >= Character.MIN_SURROGATE && c <= Character.MAX_SURROGATE);
  }
}
