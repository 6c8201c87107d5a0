package dev.gregale.model;

import dev.gregale.checkpoint.CheckpointLayout;
import dev.gregale.checkpoint.ModelDimensions;
import dev.gregale.checkpoint.SafetensorsWriter;
import dev.gregale.tensor.DType;
import dev.gregale.tensor.HostTensor;
import dev.gregale.tensor.Shape;
import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;

/** Models of random fp32 weights, always the same. */
final class RandomModel {

  private RandomModel() {}

  /** A checkpoint in Hugging Face's layout, of two experts a token. */
  static void write(Path directory, ModelDimensions dims) throws IOException {
    Random random = new Random(7);
    List<HostTensor> tensors = new ArrayList<>();
    CheckpointLayout.HUGGING_FACE.forEachTensor(
        dims, (name, shape) -> tensors.add(gaussians(name, shape, random)));
    SafetensorsWriter.write(
        directory.resolve("model.safetensors"), tensors, SafetensorsWriter.PYTORCH_METADATA);
    Files.writeString(
        directory.resolve("config.json"),
        """
        {"model_type": "mixtral", "hidden_size": %d, "num_hidden_layers": %d,
         "num_attention_heads": %d, "num_key_value_heads": %d, "head_dim": %d,
         "num_local_experts": %d, "num_experts_per_tok": 2, "intermediate_size": %d,
         "vocab_size": %d, "max_position_embeddings": 512, "rms_norm_eps": 1e-5,
         "rope_theta": 1e4, "eos_token_id": 2}
        """
            .formatted(
                dims.hiddenSize(),
                dims.numLayers(),
                dims.numHeads(),
                dims.numKvHeads(),
                dims.headDim(),
                dims.numExperts(),
                dims.intermediateSize(),
                dims.vocabSize()));
  }

  private static HostTensor gaussians(String name, Shape shape, Random random) {
    ByteBuffer bytes =
        ByteBuffer.allocate(Math.toIntExact(shape.numBytes(DType.F32)))
            .order(ByteOrder.LITTLE_ENDIAN);
    boolean isGain = shape.rank() == 1;
    float deviation = isGain ? 0.1f : (float) (0.8 / Math.sqrt(shape.dim(1)));
    while (bytes.hasRemaining()) {
      bytes.putFloat((isGain ? 1 : 0) + deviation * (float) random.nextGaussian());
    }
    return new HostTensor(name, DType.F32, shape, List.of(MemorySegment.ofArray(bytes.array())));
  }
}
