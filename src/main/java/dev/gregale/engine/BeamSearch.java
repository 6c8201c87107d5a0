package dev.gregale.engine;

import dev.gregale.engine.Beams.Beam;
import dev.gregale.sampling.BeamSearchParams;
import dev.gregale.sampling.FinishReason;
import dev.gregale.sampling.SamplingParams;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import java.util.function.Function;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;

/**
 * Beam search over the engine, round by round (as vLLM has it): each round asks for one token after
 * every running beam, and the likeliest tokens at its place. What rounds have in common is in the
 * prefix cache.
 */
final class BeamSearch {
  private final Function<GenerationRequest, Flux<GenerationEvent>> rounds;
  private final int[] eosTokenIds;
  private final int maxModelLen;
  private final TextStreamFactory texts;

  /**
   * @param rounds what runs the request of a round
   */
  BeamSearch(
      Function<GenerationRequest, Flux<GenerationEvent>> rounds,
      int[] eosTokenIds,
      int maxModelLen,
      TextStreamFactory texts) {
    this.rounds = rounds;
    this.eosTokenIds = eosTokenIds;
    this.maxModelLen = maxModelLen;
    this.texts = texts;
  }

  /**
   * The events of a request with {@link SamplingParams#beamSearch}: of each prompt, all at once.
   */
  Flux<GenerationEvent> generate(GenerationRequest request, BeamSearchParams params) {
    return Flux.range(0, request.prompts().size())
        .flatMap(prompt -> new Search(request, params, prompt).events());
  }

  /** The search after one prompt. */
  private final class Search {
    private final GenerationRequest request;
    private final SamplingParams wanted;
    private final int[] prompt;
    private final int promptIndex;
    private final SamplingParams oneToken;
    private final Beams beams;
    private int round;
    private int cachedTokens = -1;

    Search(GenerationRequest request, BeamSearchParams params, int promptIndex) {
      this.request = request;
      this.promptIndex = promptIndex;
      wanted = request.params();
      prompt = request.prompts().get(promptIndex);
      int[] eos = wanted.ignoreEos() ? new int[0] : eosTokenIds;
      int likeliest = params.width() + Math.max(params.width(), eos.length); // enough go on
      oneToken =
          SamplingParams.builder()
              .maxTokens(1)
              .temperature(0)
              .ignoreEos(true)
              .logprobs(Math.min(likeliest, SamplingParams.MAX_LOGPROBS))
              .build();
      beams =
          new Beams(
              params,
              Math.min(wanted.maxTokens(), maxModelLen - prompt.length),
              token -> IntStream.of(eos).anyMatch(id -> id == token));
    }

    Flux<GenerationEvent> events() {
      return Mono.defer(this::nextTokens)
          .doOnNext(next -> beams.advance(next, Math.max(0, wanted.logprobs())))
          .then()
          .repeat(() -> !beams.running().isEmpty())
          .thenMany(Flux.defer(() -> Flux.fromIterable(results())));
    }

    /** One round: the likeliest tokens at the end of each running beam. */
    private Mono<List<TokenLogprob>> nextTokens() {
      List<int[]> prompts = beams.running().stream().map(this::tokenIds).toList();
      GenerationRequest one =
          new GenerationRequest(
              "%s-%d-%d".formatted(request.requestId(), promptIndex, round++),
              prompts,
              1,
              oneToken,
              request.cacheSalt(),
              request.priority());
      @Nullable TokenLogprob[] next = new TokenLogprob[prompts.size()];
      return rounds
          .apply(one)
          .doOnNext(event -> note(event, next))
          .then(Mono.fromCallable(() -> Arrays.stream(next).map(Objects::requireNonNull).toList()));
    }

    private void note(GenerationEvent event, @Nullable TokenLogprob[] next) {
      switch (event) {
        case GenerationEvent.Tokens tokens when !tokens.tokens().isEmpty() ->
            next[tokens.index()] = tokens.tokens().getFirst();
        case GenerationEvent.Finished end when end.reason() == FinishReason.ABORT ->
            throw new EngineUnavailableException("The engine is stopping.");
        case GenerationEvent.Finished end when cachedTokens < 0 ->
            cachedTokens = end.cachedTokens();
        default -> {}
      }
    }

    private int[] tokenIds(Beam beam) {
      int[] ids = Arrays.copyOf(prompt, prompt.length + beam.length());
      int at = prompt.length;
      for (TokenLogprob token : beam.tokens()) {
        ids[at++] = token.tokenId();
      }
      return ids;
    }

    private List<GenerationEvent> results() {
      List<GenerationEvent> events = new ArrayList<>();
      int first = promptIndex * request.n();
      for (Beam beam : beams.finished().subList(0, request.n())) {
        int index = first + events.size() / 2;
        FinishReason reason = beam.ended() ? FinishReason.STOP : FinishReason.LENGTH;
        List<TokenLogprob> tokens = beam.tokens();
        events.add(new GenerationEvent.Tokens(index, text(tokens, reason), tokens));
        events.add(
            new GenerationEvent.Finished(
                index, reason, prompt.length, cachedTokens, tokens.size()));
      }
      return events;
    }

    private String text(List<TokenLogprob> tokens, FinishReason reason) {
      SequenceText text = new SequenceText(texts.open(prompt, wanted.skipSpecialTokens()), wanted);
      StringBuilder all = new StringBuilder();
      for (int i = 0; i < tokens.size(); i++) {
        all.append(text.push(tokens.get(i).tokenId(), i == tokens.size() - 1 ? reason : null));
      }
      return all.toString();
    }
  }
}
