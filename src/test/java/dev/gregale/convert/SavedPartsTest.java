package dev.gregale.convert;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.gregale.checkpoint.Checkpoint;
import dev.gregale.checkpoint.CheckpointException;
import dev.gregale.checkpoint.SafetensorsWriter;
import dev.gregale.tensor.HostTensor;
import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import tools.jackson.databind.json.JsonMapper;
import tools.jackson.databind.node.ObjectNode;

/**
 * Experts in files as {@code torch.distributed.checkpoint} has ranks save them: no index, offsets
 * of every tensor in the metadata, what ranks have alike in some rank's file.
 */
class SavedPartsTest {
  private static final Path TE = Models.ODD0.resolve("te");
  private static final String DOWN = "model.layers.1.mlp.experts_down_weight";
  private static final int EXPERTS = 4;
  @TempDir private Path folder;
  private final List<Part> parts = new ArrayList<>();

  /** A rank's file. */
  private record Part(List<HostTensor> tensors, ObjectNode offsets) {}

  private static String name(int rank) {
    return "shard-%05d-model-00001-of-00001.safetensors".formatted(rank + 1);
  }

  /** Deals the experts out, so many to each rank; the rest to the ranks in turn. */
  private void deal(Checkpoint te, int... experts) {
    for (int rank = 0; rank < experts.length; rank++) {
      parts.add(new Part(new ArrayList<>(), JsonMapper.shared().createObjectNode()));
    }
    int turn = 0;
    for (String tensor : te.names()) {
      HostTensor whole = te.tensor(tensor);
      if (!tensor.contains("experts_")) {
        add(turn++ % experts.length, whole, 0);
        continue;
      }
      long expertBytes = whole.slabs().getFirst().byteSize() / EXPERTS;
      int first = 0;
      for (int rank = 0; rank < experts.length; rank++) {
        MemorySegment share =
            whole.slabs().getFirst().asSlice(first * expertBytes, experts[rank] * expertBytes);
        add(
            rank,
            new HostTensor(
                tensor, whole.dtype(), whole.shape().withFirst(experts[rank]), List.of(share)),
            first);
        first += experts[rank];
      }
    }
  }

  private void add(int rank, HostTensor tensor, int first) {
    parts.get(rank).tensors().add(tensor);
    var saved = parts.get(rank).offsets().putObject(tensor.name()).putArray("saved_offsets");
    for (int axis = 0; axis < tensor.shape().rank(); axis++) {
      saved.add(axis == 0 ? first : 0);
    }
  }

  private Path write() throws IOException {
    Path directory = Files.createDirectories(folder.resolve("parts"));
    Files.copy(
        TE.resolve("config.json"),
        directory.resolve("config.json"),
        StandardCopyOption.REPLACE_EXISTING);
    for (int rank = 0; rank < parts.size(); rank++) {
      write(name(rank), parts.get(rank).tensors(), parts.get(rank).offsets().toString());
    }
    return directory;
  }

  private void write(String name, List<HostTensor> tensors, String sharding) {
    SafetensorsWriter.write(
        folder.resolve("parts").resolve(name),
        tensors,
        Map.of("format", "pt", "DCP_VERSION", "1.0", "DCP_SHARDING_INFO", sharding));
  }

  private void assertRefused(String... words) {
    assertThatThrownBy(
            () ->
                Models.convertQuickly(Models.request(folder.resolve("parts"), folder.resolve("x"))))
        .isInstanceOf(CheckpointException.class)
        .hasMessageContainingAll(words);
  }

  @Test
  void partsMakeTheWhole() throws IOException {
    for (int[] experts : new int[][] {{2, 2}, {1, 1, 1, 1}, {3, 1}, {4}}) {
      try (Checkpoint te = Checkpoint.open(TE)) {
        parts.clear();
        deal(te, experts);
        Path directory = write();
        try (Checkpoint checkpoint = Checkpoint.open(directory)) {
          assertThat(checkpoint.expertParallelSize()).isEqualTo(experts.length);
        }
        Path hf = folder.resolve("hf");
        Models.convertQuickly(Models.request(directory, hf));
        Path expected = Models.ODD0.resolve("hf/model.safetensors");
        assertThat(Files.mismatch(hf.resolve("model.safetensors"), expected)).isEqualTo(-1);
        Models.remove(hf);
        Models.remove(directory);
      }
    }
  }

  @Test
  void aRankIsMissingOrThereTwice() throws IOException {
    try (Checkpoint te = Checkpoint.open(TE)) {
      deal(te, 2, 2);
      Path directory = write();
      Path second = Files.move(directory.resolve(name(1)), folder.resolve("second"));
      assertRefused(name(0), "found shape [2, 320, 96], expected [4,", "the files of all ranks");
      Files.delete(directory.resolve(name(0)));
      Files.copy(second, directory.resolve(name(1)));
      assertRefused(name(1), "begins at [2, 0, 0]", "expected 0 along its first axis", "missing");
      Files.copy(second, directory.resolve(name(2)));
      assertRefused("lies in " + name(2) + " too; only experts are read in parts");
    }
  }

  @Test
  void partsDoNotFit() throws IOException {
    try (Checkpoint te = Checkpoint.open(TE)) {
      deal(te, 1, 1, 1, 1);
      parts.get(2).offsets().putObject(DOWN).putArray("saved_offsets").add(1).add(0).add(0);
      write();
      assertRefused(DOWN, "begins at [1, 0, 0]", "expected 2 along", "there twice");
      parts.get(2).offsets().putObject(DOWN).putArray("saved_offsets").add(2).add(0).add(8);
      write();
      assertRefused(DOWN, "begins at [2, 0, 8]", "expected 2 along");
      parts.get(2).offsets().putObject(DOWN).putArray("saved_offsets").add(2);
      write();
      assertRefused(DOWN, "begins at [2]");
      parts.forEach(part -> part.tensors().removeIf(tensor -> tensor.name().equals(DOWN)));
      for (int rank = 0; rank < 3; rank++) {
        HostTensor whole = te.tensor(DOWN);
        long bytes = whole.slabs().getFirst().byteSize() / EXPERTS;
        MemorySegment share = whole.slabs().getFirst().asSlice(rank * bytes, bytes);
        add(
            rank,
            new HostTensor(DOWN, whole.dtype(), whole.shape().withFirst(1), List.of(share)),
            rank);
      }
      write();
      assertRefused(DOWN, "found shape [3, 96, 160], expected [4, 96, 160]");
    }
  }

  @Test
  void malformedOffsets() throws IOException {
    try (Checkpoint te = Checkpoint.open(TE)) {
      deal(te, 2, 2);
      write();
      for (String text :
          List.of(
              "",
              "[]",
              "{",
              "{\"a\":7}",
              "{\"a\":{\"saved_offsets\":[-1]}}",
              "{\"a\":{\"saved_offsets\":[1e3]}}",
              "{\"a\":{\"saved_offsets\":[0,0,0,0,0,0,0,0,0]}}",
              "{\"a\":{\"saved_offsets\":[99999999999999999999]}}",
              "{\"a\":{},\"a\":{}}",
              "[".repeat(100))) {
        write(name(1), parts.get(1).tensors(), text);
        assertRefused(name(1) + ": DCP_SHARDING_INFO: ");
      }
    }
  }
}
