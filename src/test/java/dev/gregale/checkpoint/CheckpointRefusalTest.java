package dev.gregale.checkpoint;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.gregale.tensor.DType;
import dev.gregale.tensor.HostScales;
import dev.gregale.tensor.HostTensor;
import dev.gregale.tensor.InputScaling;
import dev.gregale.tensor.Shape;
import dev.gregale.tensor.WeightScaling;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.List;
import org.junit.jupiter.api.Test;

/** What is missing, left over, or of another shape or type is refused by name. */
class CheckpointRefusalTest extends CheckpointReaderFixture {
  private static final String EXPERTS = "model.layers.1.block_sparse_moe.experts.";

  @Test
  void aHeadBesideATiedEmbeddingMustBeTheSame() {
    ModelDimensions tied = new ModelDimensions(96, 2, 6, 3, 16, 4, 160, 320, true);
    assertThatThrownBy(() -> readTensors(hf(), tied))
        .isInstanceOf(CheckpointException.class)
        .hasMessageContaining("'lm_head.weight' differs from the embedding");
    HostTensor embedding = tensor(hf(), "model.embed_tokens.weight");
    CheckpointWeights weights =
        readTensors(replace(hf(), renamed(embedding, "lm_head.weight")), tied);
    assertThat(weights.lmHead()).isSameAs(weights.embedding());
  }

  @Test
  void missingTensorsAreNamedAndCounted() {
    List<HostTensor> withoutExperts =
        hf().stream().filter(t -> !t.name().startsWith(EXPERTS)).toList();
    assertThatThrownBy(() -> readTensors(withoutExperts))
        .isInstanceOf(CheckpointException.class)
        .hasMessageStartingWith(directory + ": HUGGING_FACE layout: missing 12 tensors: ")
        .hasMessageContaining("'" + EXPERTS + "0.w1.weight', '" + EXPERTS + "0.w3.weight'")
        .hasMessageEndingWith(", ...");
  }

  @Test
  void everyTensorIsNeeded() {
    for (List<HostTensor> layout : List.of(hf(), te())) {
      for (HostTensor one : layout) {
        List<HostTensor> others =
            layout.stream().filter(t -> !t.name().equals(one.name())).toList();
        assertThatThrownBy(() -> readTensors(others))
            .isInstanceOf(CheckpointException.class)
            .hasMessageEndingWith("missing 1 tensor: '" + one.name() + "'");
      }
    }
  }

  @Test
  void everyShapeIsChecked() {
    for (List<HostTensor> layout : List.of(hf(), te())) {
      for (HostTensor one : layout) {
        Shape other = Shape.of(1, one.shape().numElements());
        HostTensor flat = new HostTensor(one.name(), one.dtype(), other, one.slabs());
        assertThatThrownBy(() -> readTensors(replace(layout, flat)))
            .isInstanceOf(CheckpointException.class)
            .hasMessage(
                "%s: tensor '%s': found shape %s, expected %s"
                    .formatted(
                        directory.resolve("model.safetensors"), one.name(), other, one.shape()));
      }
    }
  }

  @Test
  void everyDtypeIsChecked() {
    for (List<HostTensor> layout : List.of(hf(), te())) {
      for (HostTensor one : layout) {
        HostTensor codes = new HostTensor(one.name(), DType.I16, one.shape(), one.slabs());
        assertThatThrownBy(() -> readTensors(replace(layout, codes)))
            .isInstanceOf(CheckpointException.class)
            .hasMessageContaining(
                "tensor '" + one.name() + "': found dtype I16, expected F32, F16 or BF16");
      }
    }
  }

  @Test
  void shapesFollowTheDimensions() {
    ModelDimensions wider = new ModelDimensions(96, 2, 6, 3, 16, 4, 160, 321, false);
    assertThatThrownBy(() -> readTensors(hf(), wider))
        .hasMessageContaining(
            "'model.embed_tokens.weight': found shape [320, 96], expected [321, 96]");
    ModelDimensions fewerKeys = new ModelDimensions(96, 2, 6, 2, 16, 4, 160, 320, false);
    assertThatThrownBy(() -> readTensors(hf(), fewerKeys))
        .hasMessageContaining("k_proj.weight': found shape [48, 96], expected [32, 96]");
    assertThatThrownBy(() -> readTensors(te(), fewerKeys))
        .hasMessageContaining("layernorm_qkv.weight': found shape [192, 96], expected [160, 96]");
  }

  @Test
  void tensorsWithoutAPlaceAreRefused() {
    ModelDimensions oneLayer = new ModelDimensions(96, 1, 6, 3, 16, 4, 160, 320, false);
    assertThatThrownBy(() -> readTensors(hf(), oneLayer))
        .isInstanceOf(CheckpointException.class)
        .hasMessageContaining("no place in the model that config.json describes for 19 tensors")
        .hasMessageContaining("'model.layers.1.");
    String bias = "model.layers.0.self_attn.q_proj.bias";
    assertThatThrownBy(() -> readTensors(with(hf(), Golden.counting(bias, DType.F32, 0, 96))))
        .hasMessageEndingWith("for 1 tensor: '" + bias + "'");
    String frequencies = "model.layers.0.self_attn.rotary_emb.inv_freq";
    assertThat(readTensors(with(hf(), Golden.counting(frequencies, DType.F32, 0, 8)))).isNotNull();
  }

  @Test
  void dtypesMayDifferBetweenMatricesButNotWithinOne() {
    String norm = "model.layers.0.input_layernorm.weight";
    CheckpointWeights weights = readTensors(replace(hf(), Golden.counting(norm, DType.F32, 0, 96)));
    assertThat(weights.layers().getFirst().inputNorm().dtype()).isEqualTo(DType.F32);
    assertThat(weights.layers().get(1).inputNorm().dtype()).isEqualTo(DType.BF16);
    String value = "model.layers.0.self_attn.v_proj.weight";
    assertThatThrownBy(
            () -> readTensors(replace(hf(), Golden.counting(value, DType.F16, 0, 48, 96))))
        .isInstanceOf(CheckpointException.class)
        .hasMessageContaining("tensor '" + value + "': found dtype F16, expected BF16 as in");
  }

  @Test
  void unknownAndMixedLayoutsAreRefused() {
    assertThatThrownBy(() -> readTensors(List.of(Golden.counting("wte", DType.F32, 0, 1))))
        .isInstanceOf(CheckpointException.class)
        .hasMessageContaining("no known layout (the first is 'wte')");
    assertThatThrownBy(() -> readTensors(List.of()))
        .isInstanceOf(CheckpointException.class)
        .hasMessageContaining("no known layout (the first is none)");
    HostTensor stacked = Golden.counting("model.layers.0.mlp.experts.down_proj", DType.F32, 0, 1);
    assertThatThrownBy(() -> readTensors(with(hf(), stacked)))
        .hasMessageContaining("several layouts: [HUGGING_FACE, HUGGING_FACE_FUSED]");
  }

  /** Transformers 5's names in memory, which its own save_pretrained does not write. */
  @Test
  void codesUnderFusedNamesAreRefusedWithAWayOut() {
    Shape shape = Shape.of(4, 96, 160);
    WeightScaling scaling =
        WeightScaling.ofWhole(InputScaling.of(InputScaling.Kind.PER_ROW, InputScaling.When.NEVER));
    try (Arena arena = Arena.ofConfined()) {
      HostScales scales =
          new HostScales(scaling, List.of(4 * 96), List.of(arena.allocate(Float.BYTES)));
      MemorySegment codes = arena.allocate(shape.numElements());
      HostTensor down =
          new HostTensor(
              "model.layers.0.mlp.experts.down_proj", DType.F8_E4M3, shape, List.of(codes), scales);
      assertThatThrownBy(() -> readTensors(List.of(down)))
          .isInstanceOf(CheckpointException.class)
          .hasMessageContaining("codes are read under the published names only");
    }
  }
}
