package dev.gregale.convert;

import static org.assertj.core.api.Assertions.assertThat;

import dev.gregale.LoadCounts;
import dev.gregale.Seeds;
import dev.gregale.checkpoint.CheckpointLayout;
import dev.gregale.checkpoint.ConfigJson;
import dev.gregale.checkpoint.ModelDimensions;
import dev.gregale.checkpoint.QuantizationConfig;
import dev.gregale.checkpoint.SafetensorsFile;
import dev.gregale.checkpoint.SafetensorsWriter;
import dev.gregale.checkpoint.ScaleGrid;
import dev.gregale.quantization.Quantization;
import dev.gregale.tensor.DType;
import dev.gregale.tensor.HostScales;
import dev.gregale.tensor.HostTensor;
import dev.gregale.tensor.Shape;
import dev.gregale.tensor.WeightScaling;
import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Random;
import java.util.TreeMap;
import java.util.function.DoubleSupplier;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import tools.jackson.databind.json.JsonMapper;
import tools.jackson.databind.node.ObjectNode;

/**
 * Random codes and scales of shapes whose blocks end anywhere: they come back from
 * TransformerEngine's layout as they were, and mean there what they mean here.
 */
@Tag("counts")
class RandomCodesTest {
  private static final int MODELS = LoadCounts.of(40, 400);
  private static final long BASE_SEED = 20261123;

  private static final List<String> CONFIGS =
      List.of(
          "{\"quant_method\": \"fp8\", \"activation_scheme\": \"dynamic\"}",
          "{\"quant_method\": \"fp8\", \"activation_scheme\": \"static\"}",
          "{\"quant_method\": \"fp8\", \"weight_block_size\": [128, 128]}",
          "{\"quant_method\": \"modelopt\", \"quant_algo\": \"MXFP8\"}",
          """
          {"quant_method": "compressed-tensors", "format": "float-quantized", "config_groups":
            {"group_0": {"weights": {"num_bits": 8, "type": "float", "strategy": "channel"}}}}
          """);

  @TempDir private Path folder;

  @Test
  void comeBackAndMeanTheSame() {
    Seeds.each(
        BASE_SEED,
        MODELS,
        (i, random) ->
            journey(
                Files.createDirectory(folder.resolve("m" + i)),
                random,
                CONFIGS.get(i % CONFIGS.size())));
  }

  private static void journey(Path directory, Random random, String quantization)
      throws IOException {
    int kvHeads = 1 + random.nextInt(3);
    ModelDimensions dims =
        new ModelDimensions(
            1 + random.nextInt(200),
            1 + random.nextInt(2),
            kvHeads * (1 + random.nextInt(3)),
            kvHeads,
            List.of(1, 24, 64, 100, 128, 150).get(random.nextInt(6)),
            1 + random.nextInt(3),
            List.of(7, 100, 128, 200, 256).get(random.nextInt(5)),
            1 + random.nextInt(9),
            random.nextBoolean());
    Path hf = write(directory.resolve("hf"), dims, quantization, random);
    Path te = directory.resolve("te");
    int ranks = Models.divisor(dims.numExperts(), random);
    Models.convertQuickly(Models.ranks(hf, te, ranks, 1 + random.nextInt(100_000)));
    Path back = convert(te, directory.resolve("back"), null, false);
    assertThat(tensors(back)).isEqualTo(tensors(hf));
    Path here = convert(hf, directory.resolve("here"), CheckpointLayout.HUGGING_FACE, true);
    Path there = convert(hf, directory.resolve("there"), CheckpointLayout.TRANSFORMER_ENGINE, true);
    Path fromThere = convert(te, directory.resolve("from"), CheckpointLayout.HUGGING_FACE, true);
    assertThat(tensors(convert(here, directory.resolve("moved"), null, false)))
        .isEqualTo(tensors(there));
    assertThat(tensors(fromThere)).isEqualTo(tensors(here));
  }

  private static Path convert(
      Path from, Path to, @Nullable CheckpointLayout layout, boolean dequantize)
      throws IOException {
    Models.convertQuickly(
        new ConversionRequest(
            from,
            to,
            layout,
            dequantize ? DType.F32 : null,
            Quantization.NONE,
            dequantize,
            1 << 20,
            1,
            false,
            false));
    return to;
  }

  private static Path write(
      Path directory, ModelDimensions dims, String quantization, Random random) throws IOException {
    Path bare = Models.write(directory, dims, List.of());
    Path file = bare.resolve("config.json");
    ObjectNode config = (ObjectNode) JsonMapper.shared().readTree(Files.readString(file));
    config.set("quantization_config", JsonMapper.shared().readTree(quantization));
    Files.writeString(file, config.toString());
    QuantizationConfig read = Objects.requireNonNull(QuantizationConfig.of(ConfigJson.read(file)));
    List<HostTensor> tensors = new ArrayList<>();
    CheckpointLayout.HUGGING_FACE.forEachTensor(
        dims,
        (name, shape) -> {
          if (CheckpointLayout.isQuantisable(name)) {
            addCodes(tensors, name, shape, dims, read, random);
          } else {
            tensors.add(finite(name, shape, random));
          }
        });
    SafetensorsWriter.write(bare.resolve("model.safetensors"), tensors, Map.of());
    return bare;
  }

  private static void addCodes(
      List<HostTensor> tensors,
      String name,
      Shape shape,
      ModelDimensions dims,
      QuantizationConfig read,
      Random random) {
    WeightScaling scaling = read.scaling();
    ScaleGrid grid = ScaleGrid.of(CheckpointLayout.HUGGING_FACE, name, shape, dims, scaling);
    HostTensor scales =
        scaling.dtype() == DType.F8_E8M0
            ? exponents(ScaleMapping.name(name, "weight_scale"), grid.shape(), random)
            : positive(
                ScaleMapping.name(name, read.scaleNames().getFirst()),
                single(read, scaling) ? Shape.of() : grid.shape(),
                random);
    byte[] codes = new byte[Math.toIntExact(shape.numElements())];
    for (int i = 0; i < codes.length; i++) {
      codes[i] = (byte) (random.nextInt(2) << 7 | random.nextInt(127)); // no NaN
    }
    tensors.add(
        new HostTensor(
            name,
            DType.F8_E4M3,
            shape,
            List.of(MemorySegment.ofArray(codes)),
            new HostScales(scaling, List.of(shape.intDim(0)), scales.slabs())));
    tensors.add(scales);
    if (!read.inputScaleNames().isEmpty()) {
      String input = ScaleMapping.name(name, read.inputScaleNames().getFirst());
      tensors.add(positive(input, Shape.of(), random));
    }
  }

  private static boolean single(QuantizationConfig read, WeightScaling scaling) {
    return scaling.blockRows() == WeightScaling.WHOLE
        && !read.method().equals(QuantizationConfig.COMPRESSED_TENSORS);
  }

  private static HostTensor exponents(String name, Shape shape, Random random) {
    byte[] bytes = new byte[Math.toIntExact(shape.numElements())];
    for (int i = 0; i < bytes.length; i++) {
      bytes[i] = (byte) (100 + random.nextInt(50));
    }
    return new HostTensor(name, DType.U8, shape, List.of(MemorySegment.ofArray(bytes)));
  }

  private static HostTensor positive(String name, Shape shape, Random random) {
    return floats(name, shape, () -> random.nextFloat(0.01f, 1));
  }

  private static HostTensor finite(String name, Shape shape, Random random) {
    return floats(name, shape, () -> (float) random.nextGaussian());
  }

  private static HostTensor floats(String name, Shape shape, DoubleSupplier values) {
    ByteBuffer bytes =
        ByteBuffer.allocate(Math.toIntExact(shape.numBytes(DType.F32)))
            .order(ByteOrder.LITTLE_ENDIAN);
    while (bytes.hasRemaining()) {
      bytes.putFloat((float) values.getAsDouble());
    }
    return new HostTensor(name, DType.F32, shape, List.of(MemorySegment.ofArray(bytes.array())));
  }

  /** Dtype, shape and bytes of every tensor, codes too. */
  private static Map<String, List<Object>> tensors(Path directory) throws IOException {
    Map<String, List<Object>> tensors = new TreeMap<>();
    try (var files = Files.newDirectoryStream(directory, "*.safetensors")) {
      for (Path path : files) {
        try (SafetensorsFile file = SafetensorsFile.open(path)) {
          for (String name : file.names()) {
            byte[] bytes = file.data(name).toArray(ValueLayout.JAVA_BYTE);
            tensors.put(
                name,
                List.of(file.info(name).dtype(), file.info(name).shape(), ByteBuffer.wrap(bytes)));
          }
        }
      }
    }
    return tensors;
  }
}
