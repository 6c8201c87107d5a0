package dev.gregale.checkpoint;

import static org.assertj.core.api.Assertions.assertThat;

import dev.gregale.tensor.HostTensor;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.io.TempDir;

/** Two layouts of one model, whose tensors can be exchanged and written anew. */
abstract class CheckpointReaderFixture {
  @TempDir Path directory;

  final Checkpoint hf = Checkpoint.open(Golden.ODD0.resolve("hf"));

  final Checkpoint te = Checkpoint.open(Golden.ODD0.resolve("te"));

  @AfterEach
  void close() {
    hf.close();
    te.close();
  }

  CheckpointWeights readTensors(List<HostTensor> tensors) {
    return readTensors(tensors, Golden.ODD0_DIMENSIONS);
  }

  /** Through a file; the weights' shapes and dtypes can be asked afterwards, not their bytes. */
  CheckpointWeights readTensors(List<HostTensor> tensors, ModelDimensions dims) {
    SafetensorsWriter.write(directory.resolve("model.safetensors"), tensors, Map.of());
    try (Checkpoint checkpoint = Checkpoint.open(directory)) {
      return CheckpointReader.read(checkpoint, dims, null);
    }
  }

  List<HostTensor> hf() {
    return hf.names().stream().map(hf::tensor).toList();
  }

  List<HostTensor> te() {
    return te.names().stream().map(te::tensor).toList();
  }

  static HostTensor tensor(List<HostTensor> tensors, String name) {
    return tensors.stream().filter(t -> t.name().equals(name)).findFirst().orElseThrow();
  }

  static List<HostTensor> replace(List<HostTensor> tensors, HostTensor by) {
    assertThat(tensors).anyMatch(t -> t.name().equals(by.name()));
    return tensors.stream().map(t -> t.name().equals(by.name()) ? by : t).toList();
  }

  static List<HostTensor> with(List<HostTensor> tensors, HostTensor another) {
    return Stream.concat(tensors.stream(), Stream.of(another)).toList();
  }

  static HostTensor renamed(HostTensor tensor, String name) {
    return new HostTensor(name, tensor.dtype(), tensor.shape(), tensor.slabs());
  }
}
