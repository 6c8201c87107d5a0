package dev.gregale.convert;

import static org.assertj.core.api.Assertions.assertThat;

import dev.gregale.LoadCounts;
import dev.gregale.Seeds;
import dev.gregale.checkpoint.CheckpointLayout;
import dev.gregale.checkpoint.ModelDimensions;
import dev.gregale.tensor.DType;
import dev.gregale.tensor.HostTensor;
import dev.gregale.tensor.Shape;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Random;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Random models come back as they were, and lie as the layout's definition says. */
@Tag("counts")
class RandomLayoutsTest {
  /** Random models that one run converts there and back. */
  private static final int LAYOUTS = LoadCounts.of(200, 1_000);

  private static final long BASE_SEED = 20260101;

  @TempDir private Path folder;

  @Test
  void randomLayoutsComeBack() {
    Seeds.each(BASE_SEED, LAYOUTS, (i, random) -> roundTrip(folder.resolve("m" + i), random));
  }

  private void roundTrip(Path directory, Random random) throws IOException {
    int kvHeads = 1 + random.nextInt(3);
    ModelDimensions dims =
        new ModelDimensions(
            1 + random.nextInt(12),
            1 + random.nextInt(3),
            kvHeads * (1 + random.nextInt(4)),
            kvHeads,
            1 + random.nextInt(5),
            1 + random.nextInt(5),
            1 + random.nextInt(9),
            1 + random.nextInt(20),
            random.nextBoolean());
    DType dtype = List.of(DType.F32, DType.F16, DType.BF16).get(random.nextInt(3));
    CheckpointLayout layout =
        random.nextInt(3) == 0
            ? CheckpointLayout.HUGGING_FACE_FUSED
            : CheckpointLayout.HUGGING_FACE;
    List<HostTensor> tensors = Models.random(layout, dims, dtype, random);
    int odd = random.nextInt(tensors.size());
    if (tensors.get(odd).name().endsWith("norm.weight")) { // a matrix has one type
      tensors.set(
          odd, Models.random(tensors.get(odd).name(), DType.F32, tensors.get(odd).shape(), random));
    }
    if (dims.tiedEmbeddings() && random.nextBoolean()) {
      HostTensor embedding = tensors.getFirst();
      tensors.add(
          new HostTensor(
              "lm_head.weight", embedding.dtype(), embedding.shape(), embedding.slabs()));
    }
    Path source = Models.write(directory.resolve("source"), dims, tensors);
    Path hf = source;
    if (layout == CheckpointLayout.HUGGING_FACE_FUSED) {
      hf = directory.resolve("published");
      Models.convertQuickly(
          Models.request(source, hf, CheckpointLayout.HUGGING_FACE, null, 1 << 20));
    }
    Path te = directory.resolve("te");
    Path back = directory.resolve("back");
    int ranks = Models.divisor(dims.numExperts(), random);
    Models.convertQuickly(Models.ranks(source, te, ranks, 1 + random.nextInt(3000)));
    Models.convertQuickly(Models.request(te, back, null, null, 1 + random.nextInt(3000)));
    assertThat(te.resolve("model.safetensors.index.ep%d-of-%d.json".formatted(ranks - 1, ranks)))
        .satisfies(index -> assertThat(Files.exists(index)).isEqualTo(ranks > 1));
    assertThat(Models.tensors(back)).isEqualTo(Models.tensors(hf));
    assertEveryRow(Models.tensors(hf), Models.tensors(te), dims);
  }

  /** The layout by its definition, element by element, without the table. */
  private static void assertEveryRow(
      Map<String, List<Object>> hf, Map<String, List<Object>> te, ModelDimensions dims) {
    int queries = dims.numHeads() / dims.numKvHeads();
    for (int layer = 0; layer < dims.numLayers(); layer++) {
      String p = "model.layers." + layer + ".";
      Rows qkv = Rows.of(te, p + "self_attention.layernorm_qkv.weight");
      Rows gateUp = Rows.of(te, p + "mlp.experts_gate_up_weight");
      Rows down = Rows.of(te, p + "mlp.experts_down_weight");
      int row = 0;
      for (int g = 0; g < dims.numKvHeads(); g++) {
        for (int i = 0; i < queries * dims.headDim(); i++) {
          Rows q = Rows.of(hf, p + "self_attn.q_proj.weight");
          assertThat(qkv.row(row++)).isEqualTo(q.row(g * queries * dims.headDim() + i));
        }
        for (String part : List.of("k", "v")) {
          Rows rows = Rows.of(hf, p + "self_attn." + part + "_proj.weight");
          for (int i = 0; i < dims.headDim(); i++) {
            assertThat(qkv.row(row++)).isEqualTo(rows.row(g * dims.headDim() + i));
          }
        }
      }
      for (int e = 0; e < dims.numExperts(); e++) {
        String expert = p + "block_sparse_moe.experts." + e + ".";
        int inner = dims.intermediateSize();
        for (int i = 0; i < inner; i++) {
          int at = 2 * inner * e + i;
          assertThat(gateUp.row(at)).isEqualTo(Rows.of(hf, expert + "w1.weight").row(i));
          assertThat(gateUp.row(at + inner)).isEqualTo(Rows.of(hf, expert + "w3.weight").row(i));
        }
        for (int i = 0; i < dims.hiddenSize(); i++) {
          assertThat(down.row(dims.hiddenSize() * e + i))
              .isEqualTo(Rows.of(hf, expert + "w2.weight").row(i));
        }
      }
    }
  }

  private record Rows(List<Object> tensor) {
    static Rows of(Map<String, List<Object>> tensors, String name) {
      return new Rows(Objects.requireNonNull(tensors.get(name), name));
    }

    ByteBuffer row(int row) {
      Shape shape = (Shape) tensor.get(1);
      int bytes = shape.intDim(shape.rank() - 1) * ((DType) tensor.get(0)).bytes();
      return ((ByteBuffer) tensor.get(2)).slice(row * bytes, bytes);
    }
  }
}
