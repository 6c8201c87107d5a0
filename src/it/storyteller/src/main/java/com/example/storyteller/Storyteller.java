package com.example.storyteller;

import dev.gregale.engine.GenerationEvent;
import dev.gregale.engine.GenerationRequest;
import dev.gregale.engine.LlmEngine;
import dev.gregale.sampling.SamplingParams;
import dev.gregale.tokenizer.Tokenizer;
import org.springframework.stereotype.Service;
import reactor.core.publisher.Flux;

/** Stories by the model in this process. */
@Service
public class Storyteller {
  private static final SamplingParams GREEDY =
      SamplingParams.builder().temperature(0).maxTokens(32).build();

  private final LlmEngine engine;
  private final Tokenizer tokenizer;

  public Storyteller(LlmEngine engine, Tokenizer tokenizer) {
    this.engine = engine;
    this.tokenizer = tokenizer;
  }

  /** Waits for the whole story. */
  public String tell(String beginning) {
    return engine.generateBlocking(request(beginning)).getFirst().text();
  }

  /** The story as it comes. */
  public Flux<String> stream(String beginning) {
    return engine
        .generate(request(beginning))
        .ofType(GenerationEvent.Tokens.class)
        .map(GenerationEvent.Tokens::text);
  }

  private GenerationRequest request(String beginning) {
    return GenerationRequest.of(tokenizer.encode(beginning, true), GREEDY);
  }
}
