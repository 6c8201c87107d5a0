package dev.gregale.sampling;

import java.util.List;
import java.util.Map;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/** Builds {@link SamplingParams}, starting from OpenAI's defaults. */
public final class SamplingParamsBuilder {
  private int maxTokens = 16;
  private int minTokens;
  private float temperature = 1;
  private float topP = 1;
  private int topK;
  private float minP;
  private float repetitionPenalty = 1;
  private float presencePenalty;
  private float frequencyPenalty;
  private int noRepeatNgramSize;
  private Map<Integer, Float> logitBias = Map.of();
  private @Nullable Long seed;
  private List<String> stop = List.of();
  private Set<Integer> stopTokenIds = Set.of();
  private boolean ignoreEos;
  private boolean includeStopStrInOutput;
  private boolean skipSpecialTokens = true;
  private int logprobs = -1;
  private int promptLogprobs = -1;
  private boolean returnRoutedExperts;
  private @Nullable TokenConstraint structuredOutput;
  private @Nullable BeamSearchParams beamSearch;

  SamplingParamsBuilder() {}

  public SamplingParamsBuilder maxTokens(int value) {
    maxTokens = value;
    return this;
  }

  public SamplingParamsBuilder minTokens(int value) {
    minTokens = value;
    return this;
  }

  public SamplingParamsBuilder temperature(float value) {
    temperature = value;
    return this;
  }

  public SamplingParamsBuilder topP(float value) {
    topP = value;
    return this;
  }

  public SamplingParamsBuilder topK(int value) {
    topK = value;
    return this;
  }

  public SamplingParamsBuilder minP(float value) {
    minP = value;
    return this;
  }

  public SamplingParamsBuilder repetitionPenalty(float value) {
    repetitionPenalty = value;
    return this;
  }

  public SamplingParamsBuilder presencePenalty(float value) {
    presencePenalty = value;
    return this;
  }

  public SamplingParamsBuilder frequencyPenalty(float value) {
    frequencyPenalty = value;
    return this;
  }

  public SamplingParamsBuilder noRepeatNgramSize(int value) {
    noRepeatNgramSize = value;
    return this;
  }

  public SamplingParamsBuilder logitBias(Map<Integer, Float> value) {
    logitBias = value;
    return this;
  }

  public SamplingParamsBuilder seed(@Nullable Long value) {
    seed = value;
    return this;
  }

  public SamplingParamsBuilder stop(List<String> value) {
    stop = value;
    return this;
  }

  public SamplingParamsBuilder stopTokenIds(Set<Integer> value) {
    stopTokenIds = value;
    return this;
  }

  public SamplingParamsBuilder ignoreEos(boolean value) {
    ignoreEos = value;
    return this;
  }

  public SamplingParamsBuilder includeStopStrInOutput(boolean value) {
    includeStopStrInOutput = value;
    return this;
  }

  public SamplingParamsBuilder skipSpecialTokens(boolean value) {
    skipSpecialTokens = value;
    return this;
  }

  public SamplingParamsBuilder logprobs(int value) {
    logprobs = value;
    return this;
  }

  public SamplingParamsBuilder promptLogprobs(int value) {
    promptLogprobs = value;
    return this;
  }

  public SamplingParamsBuilder returnRoutedExperts(boolean value) {
    returnRoutedExperts = value;
    return this;
  }

  public SamplingParamsBuilder structuredOutput(@Nullable TokenConstraint value) {
    structuredOutput = value;
    return this;
  }

  public SamplingParamsBuilder beamSearch(@Nullable BeamSearchParams value) {
    beamSearch = value;
    return this;
  }

  public SamplingParams build() {
    return new SamplingParams(
        maxTokens,
        minTokens,
        temperature,
        topP,
        topK,
        minP,
        repetitionPenalty,
        presencePenalty,
        frequencyPenalty,
        noRepeatNgramSize,
        logitBias,
        seed,
        stop,
        stopTokenIds,
        ignoreEos,
        includeStopStrInOutput,
        skipSpecialTokens,
        logprobs,
        promptLogprobs,
        returnRoutedExperts,
        structuredOutput,
        beamSearch);
  }
}
