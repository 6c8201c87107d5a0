package dev.gregale.web;

import static dev.gregale.web.Ranges.check;

import dev.gregale.engine.EngineInfo;
import dev.gregale.sampling.SamplingParams;
import dev.gregale.tokenizer.Tokenizer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.OptionalInt;
import org.jspecify.annotations.Nullable;

/** Turns the prompts of a request into token ids that fit the model; refuses it with a 400. */
final class PromptEncoder {
  private final @Nullable Tokenizer tokenizer;
  private final EngineInfo info;
  private final GenerationFields request;
  private final SamplingParams params;
  private final boolean textNeeded;
  private final int reserved;
  private final int kept;

  /**
   * @param givenMaxTokens an explicit limit must fit too; a defaulted one ends where the context
   *     does
   * @param textNeeded whether a prompt of token ids is wanted as text as well
   */
  PromptEncoder(
      @Nullable Tokenizer tokenizer,
      EngineInfo info,
      GenerationFields request,
      SamplingParams params,
      @Nullable Integer givenMaxTokens,
      boolean textNeeded) {
    this.tokenizer = tokenizer;
    this.info = info;
    this.request = request;
    this.params = params;
    this.textNeeded = textNeeded;
    this.reserved = givenMaxTokens == null ? Math.min(1, params.maxTokens()) : params.maxTokens();
    this.kept = kept();
  }

  /** Tokens of a prompt that are kept, at most. */
  private int kept() {
    Integer truncate = request.truncatePromptTokens();
    if (truncate == null) {
      return Integer.MAX_VALUE;
    }
    int room = info.maxModelLen() - reserved;
    check(
        truncate == -1 || (truncate > 0 && truncate <= room),
        "truncate_prompt_tokens",
        "truncate_prompt_tokens must be -1 or between 1 and %d, what the context holds beside the tokens to generate, but is %d"
            .formatted(room, truncate));
    return truncate == -1 ? Math.max(1, room) : truncate;
  }

  /** The prompts of a request for text. */
  List<Prompt> encode(@Nullable PromptInput input) {
    return switch (input) {
      case null -> List.of(ofIds("prompt", bos()));
      case PromptInput.Texts(List<String> texts) -> ofTexts(texts);
      case PromptInput.TokenIds(List<int[]> ids) -> ofIdArrays(ids);
    };
  }

  /** The conversation of a request for chat, as the template has rendered it. */
  Prompt encodeChat(Tokenizer tokenizer, String rendered) {
    return ofText(tokenizer, "messages", rendered, Boolean.TRUE.equals(request.addSpecialTokens()));
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
      TextEncoding.checkWellFormed("prompt", "prompt", text);
      prompts.add(
          ofText(tokenizer, "prompt", text, !Boolean.FALSE.equals(request.addSpecialTokens())));
    }
    return prompts;
  }

  private Prompt ofText(Tokenizer tokenizer, String field, String text, boolean addSpecialTokens) {
    int[] ids = TextEncoding.encode(tokenizer, field, text, addSpecialTokens);
    if (ids.length <= kept) {
      checkLength(field, ids.length);
      check(ids.length > 0, field, field + " has no token; give it some text");
      return new Prompt(ids, text);
    }
    int[] last = Arrays.copyOfRange(ids, ids.length - kept, ids.length);
    if (addSpecialTokens && tokenizer.bosTokenId().equals(OptionalInt.of(ids[0]))) {
      last[0] = ids[0]; // as Hugging Face's tokenizers truncate: the beginning stays in front
    }
    checkLength(field, last.length);
    return new Prompt(last, tokenizer.decode(last, params.skipSpecialTokens()));
  }

  private List<Prompt> ofIdArrays(List<int[]> arrays) {
    List<Prompt> prompts = new ArrayList<>();
    for (int i = 0; i < arrays.size(); i++) {
      prompts.add(ofIds(arrays.size() == 1 ? "prompt" : "prompt[" + i + "]", arrays.get(i)));
    }
    return prompts;
  }

  private Prompt ofIds(String where, int[] given) {
    check(given.length > 0, "prompt", where + " must not be an empty array");
    int[] ids = Arrays.copyOfRange(given, Math.max(0, given.length - kept), given.length);
    checkLength("prompt", ids.length);
    TextEncoding.checkIds("prompt", where, given, info.vocabSize());
    return new Prompt(
        ids,
        tokenizer != null && textNeeded ? tokenizer.decode(ids, params.skipSpecialTokens()) : "");
  }

  private void checkLength(String field, int promptTokens) {
    if (promptTokens + reserved > info.maxModelLen()) {
      throw ApiException.badRequest(
          field,
          "The model's context holds %d tokens, but the request needs %d: %d in the prompt and %d"
                  .formatted(info.maxModelLen(), promptTokens + reserved, promptTokens, reserved)
              + " to generate; shorten the prompt or max_tokens",
          "context_length_exceeded");
    }
  }
}
