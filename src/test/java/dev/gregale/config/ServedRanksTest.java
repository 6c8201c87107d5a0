package dev.gregale.config;

import static java.util.Objects.requireNonNull;
import static org.assertj.core.api.Assertions.assertThat;

import dev.gregale.checkpoint.CheckpointLayout;
import dev.gregale.convert.CheckpointConverter;
import dev.gregale.convert.ConversionRequest;
import dev.gregale.convert.LogitsDifference;
import dev.gregale.engine.AsyncLlmEngine;
import dev.gregale.engine.GenerationRequest;
import dev.gregale.engine.ServedModel;
import dev.gregale.engine.TextStreamFactory;
import dev.gregale.engine.TokenLogprob;
import dev.gregale.model.LoadFormat;
import dev.gregale.quantization.Quantization;
import dev.gregale.sampling.SamplingParams;
import dev.gregale.tensor.InputScaling.When;
import io.micrometer.core.instrument.simple.SimpleMeterRegistry;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.stream.StreamSupport;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.springframework.boot.context.properties.bind.Binder;
import org.springframework.boot.context.properties.source.MapConfigurationPropertySource;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/** A checkpoint whose experts are dealt out to two ranks is the model that it was made of. */
class ServedRanksTest extends QuantizedFixture {
  private static final int TOKENS = 24;

  @TempDir private static Path shared;
  private static Path demo = Path.of("");
  private static LogitsDifference difference = new LogitsDifference(0, 0, false, 1, 1, 0, 0, 0);

  @BeforeAll
  static void convert() throws IOException {
    demo = shared.resolve("demo-ep2");
    difference =
        requireNonNull(
            new CheckpointConverter(new LogitsComparison())
                .convert(toRanks(DEMO, demo, Quantization.NONE), progress -> {})
                .difference());
  }

  private static ConversionRequest toRanks(Path source, Path target, Quantization quantization) {
    CheckpointLayout to = CheckpointLayout.TRANSFORMER_ENGINE;
    return new ConversionRequest(
        source, target, to, null, quantization, false, 1_000_000, 2, false, false);
  }

  @Test
  void logitsAndLossAreTheSameToTheBit() {
    assertThat(difference.identical()).isTrue();
    assertThat(difference.tokens()).isGreaterThan(60);
    assertThat(difference.convertedLoss()).isEqualTo(difference.sourceLoss()).isPositive();
  }

  /** One device takes all shares; of two, each takes its own. */
  @ParameterizedTest
  @ValueSource(ints = {1, 2})
  void servesTheDemoModelsTokens(int ranks) throws IOException {
    String size = Integer.toString(ranks);
    EngineProperties engine =
        new Binder(
                new MapConfigurationPropertySource(
                    Map.of(
                        "gregale.engine.backend", "cpu",
                        "gregale.engine.tensor-parallel-size", size,
                        "gregale.engine.expert-parallel-size", size,
                        "gregale.engine.max-num-seqs", "2",
                        "gregale.engine.num-blocks", "40")))
            .bindOrCreate("gregale.engine", EngineProperties.class);
    ModelProperties model =
        new ModelProperties(demo.toString(), null, LoadFormat.TE, Quantization.NONE, When.NEVER);
    JsonNode golden =
        JsonMapper.shared().readTree(Files.readString(GOLDEN.resolve("greedy/greedy.json"))).get(0);
    try (ModelAssembly assembly = ModelAssembly.prepare(model, engine)) {
      assertThat(tokens(assembly, ints(golden.get("ids"))))
          .isEqualTo(Arrays.copyOf(ints(golden.get("tokens_ignore_eos")), TOKENS));
    }
  }

  private static int[] tokens(ModelAssembly assembly, int[] prompt) {
    ModelAssembly.LoadedModel loaded = assembly.load();
    AsyncLlmEngine engine =
        new AsyncLlmEngine(
            new ServedModel(
                "demo", 0, assembly.config().vocabSize(), new int[0], assembly.routing()),
            assembly.limits(),
            List.of(assembly.runner(loaded, loaded.backend().kernels())),
            TextStreamFactory.none(),
            new SimpleMeterRegistry());
    engine.start();
    try {
      SamplingParams greedy = SamplingParams.builder().temperature(0).maxTokens(TOKENS).build();
      return engine
          .generateBlocking(GenerationRequest.of(prompt, greedy))
          .getFirst()
          .tokens()
          .stream()
          .mapToInt(TokenLogprob::tokenId)
          .toArray();
    } finally {
      engine.close(Duration.ZERO);
    }
  }

  private static int[] ints(JsonNode array) {
    return StreamSupport.stream(array.spliterator(), false).mapToInt(JsonNode::asInt).toArray();
  }

  @ParameterizedTest
  @EnumSource(mode = EnumSource.Mode.EXCLUDE, names = "NONE")
  void codesGiveTheLogitsOfTheWhole(Quantization quantization) throws IOException {
    Path ranks = folder.resolve("ranks");
    new CheckpointConverter(null).convert(toRanks(ODD, ranks, quantization), progress -> {});
    assertSame(logits(ranks, Quantization.NONE, When.NEVER), logits(ODD, quantization, When.NEVER));
  }
}
