package dev.gregale.checkpoint;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.gregale.tensor.DType;
import dev.gregale.tensor.HostTensor;
import dev.gregale.tensor.Shape;
import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class SafetensorsWriterTest {

  @TempDir Path directory;

  /** Files of Hugging Face's own writer come out as the same bytes. */
  @ParameterizedTest
  @ValueSource(strings = {"random/odd0/hf", "random/odd0/te", "random/odd1/hf"})
  void writesTheBytesThatHuggingFaceWrites(String checkpoint) throws IOException {
    Path original = Golden.DIRECTORY.resolve(checkpoint).resolve("model.safetensors");
    Path copy = directory.resolve("copy.safetensors");
    try (SafetensorsFile file = SafetensorsFile.open(original)) {
      List<HostTensor> tensors = file.names().stream().map(file::tensor).toList();
      SafetensorsWriter.write(copy, tensors, SafetensorsWriter.PYTORCH_METADATA);
    }
    assertThat(Files.mismatch(original, copy)).isEqualTo(-1);
  }

  @Test
  void readsBackWhatItWrote() {
    Path path = directory.resolve("x.safetensors");
    HostTensor slabs =
        new HostTensor(
            "sl\"abs\né",
            DType.F32,
            Shape.of(3, 1),
            List.of(
                MemorySegment.ofArray(new byte[] {1, 2, 3}),
                MemorySegment.ofArray(new byte[0]),
                MemorySegment.ofArray(new byte[] {4, 5, 6, 7, 8, 9, 10, 11, 12})));
    HostTensor empty = Golden.counting("empty", DType.U8, 0, 0);
    HostTensor scalar = Golden.counting("scalar", DType.BF16, 50);
    SafetensorsWriter.write(path, List.of(slabs, empty, scalar), Map.of());
    try (SafetensorsFile file = SafetensorsFile.open(path)) {
      assertThat(file.names()).containsExactlyInAnyOrder("sl\"abs\né", "empty", "scalar");
      assertThat(file.metadata()).isEmpty();
      assertThat(file.info("sl\"abs\né").shape()).isEqualTo(Shape.of(3, 1));
      assertThat(Golden.bytes(file.tensor("sl\"abs\né")))
          .containsExactly(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12);
      assertThat(Golden.bytes(file.tensor("scalar"))).containsExactly(50, 51);
      assertThat(file.info("sl\"abs\né").offset() % 8).isZero();
    }
  }

  @Test
  void alignsTheDataForEveryLengthOfHeader() throws IOException {
    for (int length = 1; length <= 9; length++) {
      Path path = directory.resolve(length + ".safetensors");
      HostTensor tensor = Golden.counting("n".repeat(length), DType.U8, 0, 1);
      SafetensorsWriter.write(path, List.of(tensor), Map.of());
      ByteBuffer bytes = ByteBuffer.wrap(Files.readAllBytes(path)).order(ByteOrder.LITTLE_ENDIAN);
      assertThat(bytes.getLong(0) % 8).isZero();
      assertThat(bytes.capacity()).isEqualTo(8 + bytes.getLong(0) + 1);
    }
  }

  @Test
  void replacesTheFileItReadsFrom() {
    Path path = directory.resolve("x.safetensors");
    SafetensorsWriter.write(path, List.of(Golden.counting("a", DType.U8, 7, 2)), Map.of());
    try (SafetensorsFile file = SafetensorsFile.open(path)) {
      HostTensor a = file.tensor("a");
      HostTensor b = new HostTensor("b", a.dtype(), a.shape(), a.slabs());
      SafetensorsWriter.write(path, List.of(b), Map.of());
    }
    try (SafetensorsFile file = SafetensorsFile.open(path)) {
      assertThat(Golden.bytes(file.tensor("b"))).containsExactly(7, 8);
    }
    assertThat(directory).isDirectoryNotContaining("glob:**.part");
  }

  @Test
  void refusesNamesThatAreTaken() {
    HostTensor a = Golden.counting("a", DType.U8, 0, 1);
    HostTensor metadata = Golden.counting("__metadata__", DType.U8, 0, 1);
    Path path = directory.resolve("x.safetensors");
    assertThatThrownBy(() -> SafetensorsWriter.write(path, List.of(a, a), Map.of()))
        .isInstanceOf(CheckpointException.class)
        .hasMessageContaining("tensor name 'a' is taken");
    assertThatThrownBy(() -> SafetensorsWriter.write(path, List.of(metadata), Map.of()))
        .isInstanceOf(CheckpointException.class)
        .hasMessageContaining("tensor name '__metadata__' is taken");
    assertThat(path).doesNotExist();
  }

  @Test
  void namesTheFileThatCannotBeWritten() {
    Path path = directory.resolve("none/x.safetensors");
    assertThatThrownBy(() -> SafetensorsWriter.write(path, List.of(), Map.of()))
        .isInstanceOf(CheckpointException.class)
        .hasMessageStartingWith(path + ": cannot be written");
  }
}
