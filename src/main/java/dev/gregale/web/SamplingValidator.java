package dev.gregale.web;

import static dev.gregale.web.Ranges.check;
import static dev.gregale.web.Ranges.range;

import dev.gregale.engine.EngineInfo;
import dev.gregale.engine.SchedulingPolicy;
import dev.gregale.sampling.BeamSearchParams;
import dev.gregale.sampling.Combinations;
import dev.gregale.sampling.SamplingParams;
import dev.gregale.sampling.SamplingParamsBuilder;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * Checks what requests for text and for chat have in common against OpenAI's ranges and the
 * engine's limits; refuses it with a 400.
 */
final class SamplingValidator {
  private static final int MAX_N = 128;
  private static final int MAX_STOP_STRINGS = 4;
  private static final int MAX_STOP_STRING_CHARS = 1000;
  private static final int MAX_STOP_TOKEN_IDS = 128;
  private static final int MAX_LOGIT_BIASES = 1024;

  /** Below this a temperature is greedy, as in vLLM: dividing logits by less would overflow. */
  private static final double MIN_TEMPERATURE = 1e-5;

  /** What {@code top_p: 0} becomes: it keeps the likeliest token alone. */
  private static final double MIN_TOP_P = 1e-6;

  private final GenerationFields request;
  private final EngineInfo info;
  private final boolean hasTokenizer;
  private final ResponseFormats formats;

  SamplingValidator(
      GenerationFields request, EngineInfo info, boolean hasTokenizer, ResponseFormats formats) {
    this.request = request;
    this.info = info;
    this.hasTokenizer = hasTokenizer;
    this.formats = formats;
  }

  /** Checks what has nothing to do with sampling. */
  void checkRequest() {
    checkModel(request.model(), info);
    UnsupportedFields.check("", "", request.others());
    int priority = priority(request);
    check(
        priority == 0 || info.schedulingPolicy() == SchedulingPolicy.PRIORITY,
        "priority",
        "priority is %d, but this server serves requests as they come; leave it out or give 0"
            .formatted(priority));
    boolean stream = isTrue(request.stream());
    check(
        stream || request.streamOptions() == null,
        "stream_options",
        "stream_options is allowed only with stream: true");
    check(
        !stream || promptLogprobs() <= 0,
        "prompt_logprobs",
        "prompt_logprobs cannot be streamed; leave it out or set stream to false");
  }

  static int priority(GenerationFields request) {
    return Objects.requireNonNullElse(request.priority(), 0);
  }

  static void checkModel(@Nullable String model, EngineInfo info) {
    String served = info.modelName();
    if (model == null) {
      throw ApiException.badRequest("model", "model is missing; give " + Quoted.of(served));
    }
    if (!model.equals(served)) {
      throw ApiException.modelNotFound(model, served);
    }
  }

  /** Completions of each prompt. */
  int n() {
    return range("n", request.n(), 1, 1, MAX_N);
  }

  /** The likeliest tokens to report at each place of the prompt; -1 for no report. */
  int promptLogprobs() {
    return range("prompt_logprobs", request.promptLogprobs(), -1, 0, SamplingParams.MAX_LOGPROBS);
  }

  /** What the answer holds beside the text. Prompt log-probabilities are never streamed. */
  Completion.Report report(boolean echo, int logprobs) {
    return new Completion.Report(
        echo,
        logprobs,
        isTrue(request.stream()) ? -1 : promptLogprobs(),
        isTrue(request.returnTokenIds()),
        isTrue(request.returnRoutedExperts()) ? info.routing() : null);
  }

  /**
   * Everything but the log-probabilities of the answer.
   *
   * @param maxTokens tokens to generate at most
   */
  SamplingParamsBuilder sampling(int maxTokens) {
    double temperature = range("temperature", request.temperature(), 1, 0, 2);
    double topP = range("top_p", request.topP(), 1, 0, 1);
    return SamplingParams.builder()
        .maxTokens(maxTokens)
        .minTokens(range("min_tokens", request.minTokens(), 0, 0, maxTokens))
        .temperature(temperature < MIN_TEMPERATURE ? 0 : (float) temperature)
        .topP((float) Math.max(topP, MIN_TOP_P))
        .topK(Math.max(0, range("top_k", request.topK(), 0, -1, Integer.MAX_VALUE)))
        .minP((float) range("min_p", request.minP(), 0, 0, 1))
        .repetitionPenalty(
            (float) range("repetition_penalty", request.repetitionPenalty(), 1, 0.01, 100))
        .presencePenalty((float) range("presence_penalty", request.presencePenalty(), 0, -2, 2))
        .frequencyPenalty((float) range("frequency_penalty", request.frequencyPenalty(), 0, -2, 2))
        .noRepeatNgramSize(range("no_repeat_ngram_size", request.noRepeatNgramSize(), 0, 0, 64))
        .logitBias(logitBias())
        .seed(request.seed())
        .stop(stop())
        .stopTokenIds(stopTokenIds())
        .ignoreEos(isTrue(request.ignoreEos()))
        .includeStopStrInOutput(isTrue(request.includeStopStrInOutput()))
        .skipSpecialTokens(!Boolean.FALSE.equals(request.skipSpecialTokens()))
        .promptLogprobs(promptLogprobs())
        .returnRoutedExperts(isTrue(request.returnRoutedExperts()))
        .structuredOutput(formats.constraint(request.responseFormat()));
  }

  /** Whether sequences are searched for and not drawn. */
  boolean usesBeamSearch() {
    return isTrue(request.useBeamSearch());
  }

  /**
   * The same with beam search, where it is asked for.
   *
   * @param widthField what says how many beams there are
   */
  SamplingParamsBuilder withBeamSearch(SamplingParamsBuilder params, int width, String widthField) {
    if (!usesBeamSearch()) {
      return params;
    }
    check(
        !isTrue(request.stream()),
        "use_beam_search",
        "use_beam_search cannot be streamed; leave it out or set stream to false");
    check(
        width <= BeamSearchParams.MAX_WIDTH,
        widthField,
        "Beam search may have %d beams, but %s is %d"
            .formatted(BeamSearchParams.MAX_WIDTH, widthField, width));
    return params.beamSearch(
        new BeamSearchParams(width, range("length_penalty", request.lengthPenalty(), 1, -10, 10)));
  }

  /** Refuses parameters that do not go together. */
  static SamplingParams checkCombination(SamplingParams params) {
    checkAlone("response_format", Combinations.besideStructuredOutput(params));
    checkAlone("use_beam_search", Combinations.besideBeamSearch(params));
    check(
        params.beamSearch() == null || params.maxTokens() > 0,
        "use_beam_search",
        "use_beam_search needs at least one token to generate");
    return params;
  }

  private static void checkAlone(String field, @Nullable String beside) {
    if (beside != null) {
      throw ApiException.badRequest(
          beside, beside + " does not go with " + field + "; leave one of them out");
    }
  }

  private Map<Integer, Float> logitBias() {
    Map<String, @Nullable Double> given = Objects.requireNonNullElse(request.logitBias(), Map.of());
    checkCount("logit_bias", given.size(), MAX_LOGIT_BIASES);
    Map<Integer, Float> biases = new HashMap<>();
    given.forEach((key, bias) -> biases.put(tokenIdKey(key), (float) bias("logit_bias", bias)));
    return biases;
  }

  private static double bias(String field, @Nullable Double bias) {
    check(bias != null, field, field + " must hold numbers, but has a null");
    return range(field, bias, 0, -100, 100);
  }

  private int tokenIdKey(String key) {
    check(
        key.matches("[0-9]{1,9}"),
        "logit_bias",
        "logit_bias must have token ids as keys, but has " + Quoted.of(key));
    return tokenId("logit_bias", Integer.parseInt(key));
  }

  private int tokenId(String field, @Nullable Integer id) {
    if (id == null || id < 0 || id >= info.vocabSize()) {
      throw ApiException.badRequest(
          field,
          "%s has token id %s, but the model's token ids run from 0 to %d"
              .formatted(field, id, info.vocabSize() - 1));
    }
    return id;
  }

  private List<String> stop() {
    List<@Nullable String> given = Objects.requireNonNullElse(request.stop(), List.of());
    checkCount("stop", given.size(), MAX_STOP_STRINGS);
    check(
        hasTokenizer || given.isEmpty(),
        "stop",
        "stop needs a tokenizer, which this checkpoint lacks; use stop_token_ids");
    return given.stream().map(SamplingValidator::stopString).toList();
  }

  private static String stopString(@Nullable String stop) {
    if (stop == null || stop.isEmpty() || stop.length() > MAX_STOP_STRING_CHARS) {
      throw ApiException.badRequest(
          "stop",
          "stop must hold strings of 1 to %d characters, but has %s"
              .formatted(
                  MAX_STOP_STRING_CHARS, stop == null ? "a null" : "one of " + stop.length()));
    }
    return stop;
  }

  private Set<Integer> stopTokenIds() {
    List<@Nullable Integer> given = Objects.requireNonNullElse(request.stopTokenIds(), List.of());
    checkCount("stop_token_ids", given.size(), MAX_STOP_TOKEN_IDS);
    Set<Integer> ids = new HashSet<>();
    for (Integer id : given) {
      ids.add(tokenId("stop_token_ids", id));
    }
    return ids;
  }

  private static void checkCount(String field, int count, int max) {
    check(count <= max, field, "%s may have %d entries, but has %d".formatted(field, max, count));
  }

  /**
   * Refuses what would take too much before anything is allocated for it.
   *
   * @param sequencesPerPrompt n, or best_of
   * @param maxTokensField what to name if there are too many
   */
  void checkSize(int prompts, int sequencesPerPrompt, int maxTokens, String maxTokensField) {
    int limit = info.maxSequencesPerRequest();
    long sequences = (long) prompts * sequencesPerPrompt;
    check(
        sequences <= limit,
        prompts > limit ? "prompt" : "n",
        "A request may have %d sequences, but this one asks for %d: %d prompts, %d for each"
            .formatted(limit, sequences, prompts, sequencesPerPrompt));
    check(
        sequences * maxTokens <= info.maxTokensPerRequest(),
        maxTokensField,
        "A request may generate %d tokens, but this one asks for %d: %d sequences of %d"
            .formatted(info.maxTokensPerRequest(), sequences * maxTokens, sequences, maxTokens));
  }

  static boolean isTrue(@Nullable Boolean value) {
    return Boolean.TRUE.equals(value);
  }
}
