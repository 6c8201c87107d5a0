package dev.gregale.convert;

import dev.gregale.checkpoint.Checkpoint;
import dev.gregale.checkpoint.CheckpointLayout;
import dev.gregale.checkpoint.ModelDimensions;
import dev.gregale.checkpoint.SafetensorsWriter;
import dev.gregale.quantization.Quantization;
import dev.gregale.tensor.DType;
import dev.gregale.tensor.HostTensor;
import dev.gregale.tensor.Shape;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.channels.WritableByteChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.TreeMap;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/** Models that tests convert. */
final class Models {
  static final Path GOLDEN = Path.of("src/test/resources/golden");
  static final Path ODD0 = GOLDEN.resolve("random/odd0");
  static final Path ODD1 = GOLDEN.resolve("random/odd1/hf");
  static final Path DEMO = Path.of("src/main/resources/models/fairytale-moe-7m");

  private Models() {}

  /** Dtype, shape and bytes of every tensor of a directory, by name. */
  static Map<String, List<Object>> tensors(Path directory) {
    Map<String, List<Object>> tensors = new TreeMap<>();
    try (Checkpoint checkpoint = Checkpoint.open(directory)) {
      for (String name : checkpoint.names()) {
        HostTensor tensor = checkpoint.tensor(name);
        tensors.put(name, List.of(tensor.dtype(), tensor.shape(), ByteBuffer.wrap(bytes(tensor))));
      }
    }
    return tensors;
  }

  static byte[] bytes(HostTensor tensor) {
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    try (WritableByteChannel channel = java.nio.channels.Channels.newChannel(out)) {
      for (MemorySegment slab : tensor.slabs()) {
        channel.write(slab.asByteBuffer());
      }
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
    return out.toByteArray();
  }

  /** Random bits, NaNs and infinities among them, under the names of a layout. */
  static List<HostTensor> random(
      CheckpointLayout layout, ModelDimensions dims, DType dtype, Random random) {
    List<HostTensor> tensors = new ArrayList<>();
    layout.forEachTensor(dims, (name, shape) -> tensors.add(random(name, dtype, shape, random)));
    return tensors;
  }

  static HostTensor random(String name, DType dtype, Shape shape, Random random) {
    byte[] bytes = new byte[Math.toIntExact(shape.numBytes(dtype))];
    random.nextBytes(bytes);
    return new HostTensor(name, dtype, shape, List.of(MemorySegment.ofArray(bytes)));
  }

  static Path write(Path directory, ModelDimensions dims, List<HostTensor> tensors)
      throws IOException {
    Files.createDirectories(directory);
    SafetensorsWriter.write(
        directory.resolve("model.safetensors"), tensors, SafetensorsWriter.PYTORCH_METADATA);
    Files.writeString(
        directory.resolve("config.json"),
        """
        {"model_type": "mixtral", "hidden_size": %d, "num_hidden_layers": %d,
         "num_attention_heads": %d, "num_key_value_heads": %d, "head_dim": %d,
         "num_local_experts": %d, "intermediate_size": %d, "vocab_size": %d,
         "tie_word_embeddings": %s}
        """
            .formatted(
                dims.hiddenSize(),
                dims.numLayers(),
                dims.numHeads(),
                dims.numKvHeads(),
                dims.headDim(),
                dims.numExperts(),
                dims.intermediateSize(),
                dims.vocabSize(),
                dims.tiedEmbeddings()));
    return directory;
  }

  static ConversionRequest request(Path source, Path target) {
    return ConversionRequest.of(source, target);
  }

  static ConversionRequest request(
      Path source,
      Path target,
      @Nullable CheckpointLayout to,
      @Nullable DType dtype,
      long maxShardBytes) {
    return new ConversionRequest(
        source, target, to, dtype, Quantization.NONE, false, maxShardBytes, 1, false, false);
  }

  /** Any number that divides another. */
  static int divisor(int number, Random random) {
    int[] divisors = IntStream.rangeClosed(1, number).filter(d -> number % d == 0).toArray();
    return divisors[random.nextInt(divisors.length)];
  }

  /** Into TransformerEngine's layout, experts dealt out to ranks. */
  static ConversionRequest ranks(Path source, Path target, int ranks, long maxShardBytes) {
    return new ConversionRequest(
        source,
        target,
        CheckpointLayout.TRANSFORMER_ENGINE,
        null,
        Quantization.NONE,
        false,
        maxShardBytes,
        ranks,
        false,
        false);
  }

  static ConversionResult convert(ConversionRequest request) throws IOException {
    return new CheckpointConverter(null).convert(request, progress -> {});
  }

  /** Does not wait for the disk. */
  static ConversionResult convertQuickly(ConversionRequest request) throws IOException {
    Channels unforced =
        (path, options) ->
            new FaultyChannel(
                FileChannel.open(path, options), (operation, bytes) -> Integer.MAX_VALUE);
    return new CheckpointConverter(unforced, 1 << 20, null).convert(request, progress -> {});
  }

  static void remove(Path directory) throws IOException {
    List<Path> files;
    try (Stream<Path> entries = Files.list(directory)) {
      files = entries.toList();
    }
    for (Path file : files) {
      Files.delete(file);
    }
    Files.delete(directory);
  }

  /** As a disk may. Done twice, the file is as it was. */
  static void changeLastByte(Path file) throws IOException {
    byte[] bytes = Files.readAllBytes(file);
    bytes[bytes.length - 1] ^= 1;
    Files.write(file, bytes);
  }
}
