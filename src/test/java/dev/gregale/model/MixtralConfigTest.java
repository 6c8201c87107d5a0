package dev.gregale.model;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.gregale.backend.AttentionShape;
import dev.gregale.checkpoint.Checkpoint;
import dev.gregale.checkpoint.CheckpointException;
import dev.gregale.checkpoint.CheckpointReader;
import dev.gregale.tensor.DType;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import tools.jackson.databind.json.JsonMapper;
import tools.jackson.databind.node.ObjectNode;

class MixtralConfigTest {

  private static final Path GOLDEN = Path.of("src/test/resources/golden");
  private static final Path DEMO = Path.of("src/main/resources/models/fairytale-moe-7m");
  private static final JsonMapper JSON = new JsonMapper();

  private static final MixtralConfig DEMO_CONFIG =
      new MixtralConfig(
          4096, 192, 192, 6, 6, 2, 32, 8, 2, 4096, 1e-5f, 1e6, 0, false, DType.BF16, 1, List.of(2));
  private static final MixtralConfig ODD0 =
      new MixtralConfig(
          320, 96, 160, 2, 6, 3, 16, 4, 2, 512, 1e-5f, 1e4, 0, false, DType.BF16, 1, List.of(2));
  private static final MixtralConfig ODD1 =
      new MixtralConfig(
          300, 64, 96, 2, 4, 1, 32, 5, 3, 256, 1e-5f, 5e5, 16, true, DType.F32, 1, List.of(2));

  @TempDir Path directory;

  @Test
  void readsEverySpelling() throws IOException {
    assertThat(MixtralConfig.read(DEMO)).isEqualTo(DEMO_CONFIG);
    assertThat(copied("config.classic.json")).isEqualTo(DEMO_CONFIG);
    assertThat(copied("demo-te/config.json")).isEqualTo(DEMO_CONFIG);
    assertThat(copied("demo-te/config.as-reference.json")).isEqualTo(DEMO_CONFIG);
    for (String name : List.of("hf", "hf-sharded", "te")) {
      assertThat(MixtralConfig.read(GOLDEN.resolve("random/odd0").resolve(name))).isEqualTo(ODD0);
    }
    assertThat(copied("random/odd0/hf/config.classic.json")).isEqualTo(ODD0);
    assertThat(copied("random/odd0/te/config.as-reference.json")).isEqualTo(ODD0);
    assertThat(MixtralConfig.read(GOLDEN.resolve("random/odd1/hf"))).isEqualTo(ODD1);
    assertThat(copied("random/odd1/hf/config.classic.json")).isEqualTo(ODD1);
  }

  /** Every checkpoint of the repository has the shapes that its own config.json says. */
  @ParameterizedTest
  @ValueSource(
      strings = {
        "random/odd0/hf",
        "random/odd0/hf-sharded",
        "random/odd0/te",
        "random/odd1/hf",
        "demo"
      })
  void describesTheCheckpointBesideIt(String name) {
    Path model = name.equals("demo") ? DEMO : GOLDEN.resolve(name);
    MixtralConfig config = MixtralConfig.read(model);
    try (Checkpoint checkpoint = Checkpoint.open(model)) {
      var weights = CheckpointReader.read(checkpoint, config.dimensions(), null);
      assertThat(weights.layers()).hasSize(config.numHiddenLayers());
      assertThat(weights.embedding().dtype()).isEqualTo(config.dtype());
      assertThat(weights.layers().getFirst().qkv().shape().dim(0))
          .isEqualTo(config.attentionShape().qkvWidth());
    }
  }

  @Test
  void givesTheShapeOfAttention() {
    assertThat(ODD1.attentionShape()).isEqualTo(new AttentionShape(4, 1, 32, 16));
  }

  @Test
  void readsPublishedMixtral() throws IOException {
    write(
        """
        {"architectures": ["MixtralForCausalLM"], "attention_dropout": 0.0, "bos_token_id": 1,
         "eos_token_id": 2, "hidden_act": "silu", "hidden_size": 4096, "initializer_range": 0.02,
         "intermediate_size": 14336, "max_position_embeddings": 32768, "model_type": "mixtral",
         "num_attention_heads": 32, "num_experts_per_tok": 2, "num_hidden_layers": 32,
         "num_key_value_heads": 8, "num_local_experts": 8, "output_router_logits": false,
         "rms_norm_eps": 1e-05, "rope_theta": 1000000.0, "router_aux_loss_coef": 0.02,
         "sliding_window": null, "tie_word_embeddings": false, "torch_dtype": "bfloat16",
         "transformers_version": "4.36.0.dev0", "use_cache": true, "vocab_size": 32000}
        """);
    assertThat(MixtralConfig.read(directory))
        .isEqualTo(
            new MixtralConfig(
                32000,
                4096,
                14336,
                32,
                32,
                8,
                128,
                8,
                2,
                32768,
                1e-5f,
                1e6,
                0,
                false,
                DType.BF16,
                1,
                List.of(2)));
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '`',
      textBlock =
          """
          # keys of config.json replaced | what the config then is
          {"rope_parameters":null} | ropeTheta=1000000.0
          {"rope_parameters":null,"rope_theta":10000} | ropeTheta=10000.0
          {"rope_parameters":{"rope_type":"default"},"rope_theta":7.5} | ropeTheta=7.5
          {"rope_parameters":{"rope_theta":3e4},"rope_theta":30000} | ropeTheta=30000.0
          {"rope_parameters":null,"rope_theta":9e3,"rope_scaling":{"type":"default"}} | ropeTheta=9000.0
          {"rope_scaling":null} | ropeTheta=10000.0
          {"rms_norm_eps":null} | rmsNormEps=1.0E-5
          {"rms_norm_eps":1e-6} | rmsNormEps=1.0E-6
          {"head_dim":64} | headDim=64
          {"num_key_value_heads":null} | numKeyValueHeads=6
          {"sliding_window":4096} | slidingWindow=4096
          {"dtype":"float16"} | dtype=F16
          {"dtype":null,"torch_dtype":"float32"} | dtype=F32
          {"dtype":null} | dtype=BF16
          {"hidden_act":null} | hiddenSize=96
          {"bos_token_id":null} | bosTokenId=null
          {"eos_token_id":null} | eosTokenIds=[]
          {"eos_token_id":[2,7]} | eosTokenIds=[2, 7]
          {"tie_word_embeddings":null} | tieWordEmbeddings=false
          {"num_experts_per_tok":4} | numExpertsPerTok=4
          {"auto_map":{"AutoModel":"evil.Model"},"unknown":[{}],"layer_precision":["fp8"]} | headDim=16
          """)
  void readsOptionalKeys(String replacement, String expected) throws IOException {
    writeOdd0(replacement);
    assertThat(MixtralConfig.read(directory).toString()).contains(expected);
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '`',
      textBlock =
          """
          {"model_type":"mistral"} | model_type: found 'mistral', expected mixtral
          {"model_type":null} | model_type: found 'none', expected mixtral
          {"hidden_act":"gelu"} | hidden_act: found 'gelu', expected silu
          {"self_attn_mask_type":"no_mask"} | self_attn_mask_type: found 'no_mask', expected causal or
          {"hidden_size":null} | hidden_size is missing, expected an integer
          {"vocab_size":null} | vocab_size is missing
          {"hidden_size":"96"} | hidden_size: found '"96"', expected an integer
          {"hidden_size":96.5} | hidden_size: found '96.5', expected an integer
          {"hidden_size":99999999999} | hidden_size: found '99999999999', expected an integer of 32 bits
          {"hidden_size":131073,"head_dim":16} | hidden_size: found 131073, expected from 1 to 131072
          {"hidden_size":-96} | hidden_size: found -96, expected from 1
          {"vocab_size":0} | vocab_size: found 0, expected from 1 to 4194304
          {"intermediate_size":0} | intermediate_size: found 0, expected from 1
          {"num_hidden_layers":1025} | num_hidden_layers: found 1025, expected from 1 to 1024
          {"num_hidden_layers":0} | num_hidden_layers: found 0
          {"num_attention_heads":0} | num_attention_heads: found '0', expected a divisor of hidden_size
          {"num_attention_heads":7} | num_attention_heads: found '7', expected a divisor of hidden_size, 96, or a head_dim
          {"num_attention_heads":1025,"head_dim":16} | num_attention_heads: found 1025, expected from 1 to 1024
          {"num_attention_heads":-6} | num_attention_heads: found '-6'
          {"num_key_value_heads":4} | num_attention_heads: found 6, expected a multiple of num_key_value_heads, 4
          {"num_key_value_heads":12} | num_key_value_heads: found 12, expected from 1 to 6
          {"num_key_value_heads":0} | num_key_value_heads: found 0, expected from 1 to 6
          {"head_dim":15} | head_dim: found 15, expected an even number
          {"head_dim":0} | head_dim: found 0, expected from 2 to 1024
          {"head_dim":1026} | head_dim: found 1026, expected from 2 to 1024
          {"num_local_experts":0} | num_local_experts: found 0, expected from 1 to 1024
          {"num_experts_per_tok":5} | num_experts_per_tok: found 5, expected from 1 to 4
          {"num_experts_per_tok":0} | num_experts_per_tok: found 0, expected from 1 to 4
          {"max_position_embeddings":0} | max_position_embeddings: found 0
          {"max_position_embeddings":16777217} | max_position_embeddings: found 16777217, expected from 1 to 16777216
          {"rms_norm_eps":0} | rms_norm_eps: found 0.0, expected between 0 and 1
          {"rms_norm_eps":-1e-5} | rms_norm_eps: found -1.0E-5
          {"rms_norm_eps":1e-60} | rms_norm_eps: found 0.0
          {"rms_norm_eps":true} | rms_norm_eps: found 'true', expected a number
          {"rope_parameters":{"rope_theta":0}} | rope_theta: found 0.0, expected from 1 to 1e12
          {"rope_parameters":{"rope_theta":1e13}} | rope_theta: found 1.0E13, expected from 1 to 1e12
          {"rope_parameters":{"rope_theta":1e4,"rope_type":"yarn"}} | rope_parameters: rope_type: found 'yarn', expected default
          {"rope_parameters":{"rope_theta":1e4,"partial_rotary_factor":0.5}} | partial_rotary_factor: found '0.5', expected 1
          {"rope_parameters":[]} | rope_parameters: found '[]', expected an object
          {"rope_scaling":{"type":"linear","factor":2.0}} | rope_scaling: type: found 'linear', expected default
          {"rope_theta":20000} | rope_parameters: rope_theta: found '10000.0', expected the same as the other rope_theta, 20000.0
          {"sliding_window":0} | sliding_window: found '0', expected null or 1 and more
          {"sliding_window":-1} | sliding_window: found '-1', expected null or 1 and more
          {"tie_word_embeddings":"yes"} | tie_word_embeddings: found '"yes"', expected true or false
          {"dtype":"float8_e4m3fn"} | dtype: found 'float8_e4m3fn', expected bfloat16, float16 or float32
          {"torch_dtype":"float16"} | dtype: found 'bfloat16', expected the same as torch_dtype, float16
          {"bos_token_id":320} | bos_token_id: found 320, expected from 0 to 319
          {"eos_token_id":-1} | eos_token_id: found -1, expected from 0 to 319
          {"eos_token_id":[2,320]} | eos_token_id: found 320, expected from 0 to 319
          {"eos_token_id":[null]} | eos_token_id: found 'null', expected an integer
          {"eos_token_id":"</s>"} | eos_token_id: found '"</s>"', expected an integer
          """)
  void refuses(String replacement, String message) throws IOException {
    writeOdd0(replacement);
    assertThatThrownBy(() -> MixtralConfig.read(directory))
        .isInstanceOf(CheckpointException.class)
        .hasMessageStartingWith(directory.resolve("config.json") + ": ")
        .hasMessageContaining(message);
  }

  @Test
  void generationConfigDecidesTheEnds() throws IOException {
    writeOdd0("{\"eos_token_id\":2}");
    Path generation = directory.resolve("generation_config.json");
    Files.writeString(generation, "{\"eos_token_id\":[3,4]}");
    assertThat(MixtralConfig.read(directory).eosTokenIds()).containsExactly(3, 4);
    Files.writeString(generation, "{\"eos_token_id\":null}");
    assertThat(MixtralConfig.read(directory).eosTokenIds()).containsExactly(2);
    Files.writeString(generation, "{\"eos_token_id\":{}}");
    assertThatThrownBy(() -> MixtralConfig.read(directory))
        .isInstanceOf(CheckpointException.class)
        .hasMessage(generation + ": eos_token_id: found '{}', expected an integer of 32 bits");
  }

  @Test
  void refusesWhatIsNoJsonObject() throws IOException {
    Path config = directory.resolve("config.json");
    assertRefused(config + ": no such file");
    write("");
    assertRefused(config + ": expected a JSON object");
    write("[]");
    assertRefused(config + ": expected a JSON object");
    write("{\"a\":1,\"a\":2}");
    assertRefused(config + ": not valid JSON: 'Duplicate");
    write("{\"a\":");
    assertRefused(config + ": not valid JSON");
    write("{\"a\":" + "[".repeat(1000));
    assertRefused(config + ": not valid JSON");
    write("{}".repeat(2));
    assertRefused(config + ": not valid JSON");
    write(" ".repeat((1 << 20) + 1));
    assertRefused(config + ": 1048577 bytes, expected at most 1048576");
  }

  private void assertRefused(String message) {
    assertThatThrownBy(() -> MixtralConfig.read(directory))
        .isInstanceOf(CheckpointException.class)
        .hasMessageStartingWith(message);
  }

  private void write(String text) throws IOException {
    Files.writeString(directory.resolve("config.json"), text);
  }

  private void writeOdd0(String replacement) throws IOException {
    ObjectNode config = (ObjectNode) JSON.readTree(GOLDEN.resolve("random/odd0/hf/config.json"));
    ObjectNode keys = (ObjectNode) JSON.readTree(replacement);
    config.setAll(keys);
    write(JSON.writeValueAsString(config));
  }

  private MixtralConfig copied(String config) throws IOException {
    write(Files.readString(GOLDEN.resolve(config)));
    return MixtralConfig.read(directory);
  }
}
