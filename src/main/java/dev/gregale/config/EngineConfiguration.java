package dev.gregale.config;

import dev.gregale.engine.AsyncLlmEngine;
import dev.gregale.engine.ServedModel;
import dev.gregale.engine.TextStream;
import dev.gregale.engine.TextStreamFactory;
import dev.gregale.structured.StructuredOutputs;
import dev.gregale.tokenizer.ChatRenderer;
import dev.gregale.tokenizer.ChatTemplate;
import dev.gregale.tokenizer.CheckpointChat;
import dev.gregale.tokenizer.DjlTokenizer;
import dev.gregale.tokenizer.IncrementalDetokenizer;
import dev.gregale.tokenizer.Tokenizer;
import dev.gregale.tokenizer.TokenizerLoadException;
import io.micrometer.core.instrument.MeterRegistry;
import io.micrometer.core.instrument.simple.SimpleMeterRegistry;
import java.time.Instant;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import org.springframework.beans.factory.ObjectProvider;
import org.springframework.context.annotation.Bean;
import org.springframework.context.annotation.Configuration;

/** The model, its tokenizer and the engine. Files are checked here; weights are loaded later. */
@Configuration(proxyBeanMethods = false)
public class EngineConfiguration {
  private static final Logger LOG = LoggerFactory.getLogger(EngineConfiguration.class);

  /** Characters of one prompt; the limit on a request's body is the tighter one by default. */
  private static final int MAX_TEXT_LENGTH = 16 << 20;

  @Bean(destroyMethod = "close")
  ModelAssembly modelAssembly(ModelProperties model, EngineProperties engine) {
    return ModelAssembly.prepare(model, engine);
  }

  /** Null where the model's directory has none: prompts must then be token ids. */
  @Bean(destroyMethod = "")
  @Nullable Tokenizer tokenizer(ModelAssembly assembly) {
    try {
      Tokenizer tokenizer = DjlTokenizer.open(assembly.directory(), MAX_TEXT_LENGTH).orElse(null);
      if (tokenizer == null) {
        LOG.warn(
            "{} has no tokenizer.json: prompts must be token ids, and texts will be empty",
            assembly.directory());
      }
      return tokenizer;
    } catch (TokenizerLoadException e) {
      throw new StartupException(ExitCode.DATA, String.valueOf(e.getMessage()));
    }
  }

  /** Where the checkpoint's chat template cannot be used, completions are served all the same. */
  @Bean
  ChatRenderer chatRenderer(ModelAssembly assembly) {
    try {
      return CheckpointChat.open(assembly.directory(), ChatTemplate.Limits.DEFAULT);
    } catch (TokenizerLoadException e) {
      throw new StartupException(ExitCode.DATA, String.valueOf(e.getMessage()));
    }
  }

  /** Null where there is no tokenizer. */
  @Bean
  @Nullable StructuredOutputs structuredOutputs(
      ModelAssembly assembly, ObjectProvider<Tokenizer> tokenizer) {
    Tokenizer known = tokenizer.getIfAvailable();
    return known == null
        ? null
        : new StructuredOutputs(known, assembly.config().vocabSize(), eosTokenIds(assembly));
  }

  private static int[] eosTokenIds(ModelAssembly assembly) {
    return assembly.config().eosTokenIds().stream().mapToInt(Integer::intValue).toArray();
  }

  @Bean
  DeferredRunners deferredRunners(ModelAssembly assembly) {
    return DeferredRunners.of(assembly.backends().size());
  }

  @Bean
  StepRunners stepRunners(DeferredRunners replicas) {
    return new StepRunners(replicas.all());
  }

  @Bean(destroyMethod = "")
  AsyncLlmEngine llmEngine(
      ModelAssembly assembly,
      ObjectProvider<Tokenizer> tokenizer,
      StepRunners replicas,
      ObjectProvider<MeterRegistry> registry) {
    ServedModel model =
        new ServedModel(
            assembly.name(),
            Instant.now().getEpochSecond(),
            assembly.config().vocabSize(),
            eosTokenIds(assembly),
            assembly.routing());
    TextStreamFactory texts = textStreams(tokenizer.getIfAvailable());
    return new AsyncLlmEngine(
        model,
        assembly.limits(),
        replicas.all(),
        texts,
        registry.getIfUnique(SimpleMeterRegistry::new));
  }

  private static TextStreamFactory textStreams(@Nullable Tokenizer tokenizer) {
    if (tokenizer == null) {
      return TextStreamFactory.none();
    }
    return (promptTokens, skipSpecialTokens) -> {
      IncrementalDetokenizer detokenizer = new IncrementalDetokenizer(tokenizer, skipSpecialTokens);
      detokenizer.prime(promptTokens);
      return new TextStream() {
        @Override
        public String push(int token) {
          return detokenizer.push(token);
        }

        @Override
        public String peek() {
          return detokenizer.peek();
        }

        @Override
        public String finish() {
          return detokenizer.finish();
        }
      };
    };
  }

  @Bean
  ModelMetrics modelMetrics(ModelAssembly assembly) {
    return new ModelMetrics(assembly);
  }
}
