package dev.gregale.convert;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.gregale.checkpoint.Checkpoint;
import dev.gregale.checkpoint.CheckpointException;
import dev.gregale.checkpoint.CheckpointReader;
import dev.gregale.checkpoint.ConfigJson;
import dev.gregale.checkpoint.ModelDimensions;
import dev.gregale.checkpoint.SafetensorsFile;
import dev.gregale.checkpoint.SafetensorsWriter;
import dev.gregale.tensor.DType;
import dev.gregale.tensor.HostTensor;
import dev.gregale.tensor.Shape;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.function.Consumer;
import java.util.function.UnaryOperator;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import tools.jackson.databind.json.JsonMapper;
import tools.jackson.databind.node.ObjectNode;

/** Ranks that are missing, there twice or of something else: one error that says which. */
class ExpertRanksRefusalTest {
  private static final String RANK0 = "model-ep0-of-2-00001-of-00001.safetensors";
  private static final String RANK1 = "model-ep1-of-2-00001-of-00001.safetensors";
  private static final String REPLICATED = "model-replicated-00001-of-00001.safetensors";
  private static final String INDEX0 = "model.safetensors.index.ep0-of-2.json";
  private static final String INDEX1 = "model.safetensors.index.ep1-of-2.json";
  private static final String DOWN = "model.layers.1.mlp.experts_down_weight";
  @TempDir private Path folder;
  private Path model = Path.of("");

  @BeforeEach
  void write() throws IOException {
    model = folder.resolve("model");
    Models.convertQuickly(Models.ranks(Models.ODD0.resolve("hf"), model, 2, 1 << 30));
  }

  private void read() {
    try (Checkpoint checkpoint = Checkpoint.open(model)) {
      ModelDimensions dims =
          ModelDimensions.of(ConfigJson.read(model.resolve(Checkpoint.CONFIG_FILE)));
      CheckpointReader.read(checkpoint, dims, null);
    }
  }

  private void assertRefused(String... words) {
    assertThatThrownBy(this::read)
        .isInstanceOf(CheckpointException.class)
        .hasMessageStartingWith(model.toString())
        .hasMessageContainingAll(words)
        .hasMessageNotContaining("\n");
  }

  private void copy(String from, String to) throws IOException {
    Files.copy(model.resolve(from), model.resolve(to), StandardCopyOption.REPLACE_EXISTING);
  }

  private void edit(String file, Consumer<ObjectNode> change) throws IOException {
    Path path = model.resolve(file);
    ObjectNode json = (ObjectNode) JsonMapper.shared().readTree(Files.readString(path));
    change.accept(json);
    Files.writeString(path, json.toString());
  }

  private void editMap(String index, Consumer<ObjectNode> change) throws IOException {
    edit(index, json -> change.accept((ObjectNode) json.get("weight_map")));
  }

  private void editFile(String name, UnaryOperator<HostTensor> change) throws IOException {
    Path edited = folder.resolve("edited");
    try (SafetensorsFile file = SafetensorsFile.open(model.resolve(name))) {
      List<HostTensor> tensors = new ArrayList<>();
      file.names().forEach(tensor -> tensors.add(change.apply(file.tensor(tensor))));
      SafetensorsWriter.write(edited, tensors, file.metadata());
    }
    Files.move(edited, model.resolve(name), StandardCopyOption.REPLACE_EXISTING);
  }

  private static HostTensor down(DType dtype, Shape shape) {
    return Models.random(DOWN, dtype, shape, new Random(1));
  }

  @Test
  void whatWasWrittenIsRead() {
    read();
  }

  @Test
  void aMissingRank() throws IOException {
    Path index = Files.move(model.resolve(INDEX1), folder.resolve("index"));
    assertRefused(": no " + INDEX1 + ", one of the 2 that config.json tells of", "all ranks");
    Files.move(index, model.resolve(INDEX1));
    Files.delete(model.resolve(RANK1));
    assertRefused(RANK1 + ": no such file, or not readable");
  }

  /** Names and shapes are the same: only what a file says of itself tells it from another. */
  @Test
  void theSameRankTwice() throws IOException {
    copy(RANK0, RANK1);
    assertRefused(RANK1, "begins at [0, 0, 0]", "expected 2 along its first axis", "there twice");
    write(RANK0);
    copy(INDEX0, INDEX1);
    assertRefused(RANK0, "begins at [0, 0, 0]", "expected 2 along its first axis", "there twice");
  }

  private void write(String file) throws IOException {
    Models.remove(model);
    write();
    assertThat(model.resolve(file)).exists();
  }

  @Test
  void aFileThatDoesNotSayWhose() throws IOException {
    try (SafetensorsFile file = SafetensorsFile.open(model.resolve(RANK1))) {
      List<HostTensor> tensors = file.names().stream().map(file::tensor).toList();
      SafetensorsWriter.write(folder.resolve("bare"), tensors, SafetensorsWriter.PYTORCH_METADATA);
    }
    Files.move(folder.resolve("bare"), model.resolve(RANK1), StandardCopyOption.REPLACE_EXISTING);
    assertRefused(RANK1, "begins at nothing", "expected 2 along its first axis");
  }

  @Test
  void anotherNumberOfRanks() throws IOException {
    for (String size : new String[] {"4", "1", "null"}) {
      edit(
          "config.json",
          json -> json.set("expert_parallel_size", JsonMapper.shared().readTree(size)));
      int ranks = size.equals("4") ? 4 : 1;
      assertRefused(INDEX0, "config.json tells of expert_parallel_size " + ranks);
    }
    edit("config.json", json -> json.put("expert_parallel_size", 3));
    assertRefused("config.json: 4 experts cannot be divided by 3: 1 remain");
    edit("config.json", json -> json.put("expert_parallel_size", 0));
    assertRefused("config.json: 0 ranks to deal experts out to, expected 1 to 256");
    edit("config.json", json -> json.put("expert_parallel_size", "two"));
    assertRefused("config.json: expert_parallel_size: found", "two");
    Files.delete(model.resolve("config.json"));
    assertRefused("config.json: no such file");
  }

  @Test
  void indicesOfTwoCheckpoints() throws IOException {
    copy(INDEX0, "model.safetensors.index.ep0-of-4.json");
    assertRefused("found model.safetensors.index.ep0-of-4.json", "remove what is of another");
  }

  @Test
  void aWholeCheckpointBesideThem() throws IOException {
    Files.copy(Models.ODD0.resolve("te/model.safetensors"), model.resolve("model.safetensors"));
    assertRefused("found both model.safetensors and " + INDEX0, "remove one of them");
  }

  @Test
  void sharesOfAnotherShape() throws IOException {
    editFile(RANK1, t -> t.name().equals(DOWN) ? down(DType.BF16, Shape.of(1, 96, 160)) : t);
    assertRefused(RANK1, DOWN, "found shape [1, 96, 160], expected 2 experts");
    editFile(RANK1, t -> t.name().equals(DOWN) ? down(DType.BF16, Shape.of(2, 96, 80)) : t);
    assertRefused(RANK1, DOWN, "[2, 96, 80]", "expected one type, and the same");
    editFile(RANK1, t -> t.name().equals(DOWN) ? down(DType.F32, Shape.of(2, 96, 160)) : t);
    assertRefused(RANK1, DOWN, "F32");
    editFile(RANK1, t -> t.name().equals(DOWN) ? down(DType.BF16, Shape.of()) : t);
    assertRefused(RANK1, DOWN, "found shape []");
    Shape endless = Shape.of(2, Long.MAX_VALUE / 2, 0);
    for (String file : List.of(RANK0, RANK1)) {
      editFile(file, t -> t.name().equals(DOWN) ? down(DType.BF16, endless) : t);
    }
    assertRefused(DOWN, "too many elements in all parts");
  }

  @Test
  void anIndexThatLies() throws IOException {
    editMap(INDEX1, map -> map.put(DOWN, REPLICATED));
    assertRefused(REPLICATED, "no tensor '" + DOWN + "', which " + INDEX1 + " says is in this");
    editMap(INDEX1, map -> map.put(DOWN, RANK0));
    assertRefused(INDEX1, "lies in shard " + RANK0 + ", the index says " + RANK1);
    editMap(INDEX1, map -> map.remove(DOWN));
    assertRefused(INDEX1 + ": no tensor '" + DOWN + "', which the index of rank 0 has");
    editMap(INDEX1, map -> map.put(DOWN, RANK1).put("model.extra", RANK1));
    assertRefused(INDEX1 + ": tensor 'model.extra', which the index of rank 0 has not");
    editMap(INDEX1, map -> map.remove(List.of(DOWN, "model.extra")));
    editMap(INDEX0, map -> map.remove(DOWN));
    assertRefused("tensor '" + DOWN + "' lies in shard " + RANK0 + ", the index says null");
    editMap(INDEX0, map -> map.put(DOWN, "../" + RANK0));
    assertRefused(INDEX0, "expected the plain name");
  }

  /** What all ranks have alike is there once, for all of them. */
  @Test
  void oneRanksOwnCopy() throws IOException {
    copy(REPLICATED, "copy.safetensors");
    editMap(
        INDEX1,
        map ->
            map.properties()
                .forEach(
                    entry -> {
                      if (entry.getValue().asString().equals(REPLICATED)) {
                        map.put(entry.getKey(), "copy.safetensors");
                      }
                    }));
    assertRefused(INDEX1, "lies in copy.safetensors", REPLICATED, "one file that all indices name");
  }

  @Test
  void aRanksFileAlone() throws IOException {
    Path alone = Files.createDirectory(folder.resolve("alone"));
    try (SafetensorsFile own = SafetensorsFile.open(model.resolve(RANK0));
        SafetensorsFile replicated = SafetensorsFile.open(model.resolve(REPLICATED))) {
      List<HostTensor> tensors = new ArrayList<>();
      own.names().forEach(name -> tensors.add(own.tensor(name)));
      replicated.names().forEach(name -> tensors.add(replicated.tensor(name)));
      SafetensorsWriter.write(alone.resolve("model.safetensors"), tensors, own.metadata());
    }
    Files.copy(model.resolve("config.json"), alone.resolve("config.json"));
    model = alone;
    assertRefused("found shape [2, 320, 96], expected [4, 320, 96]", "experts of some ranks only");
  }

  @Test
  void aLinkOutOfTheDirectory() throws IOException {
    Path outside = Files.move(model.resolve(RANK1), folder.resolve("outside.safetensors"));
    Files.createSymbolicLink(model.resolve(RANK1), outside);
    assertRefused(RANK1 + ": a symbolic link out of the directory");
  }

  /** Files lost, cut short, renamed or exchanged at random: never a model, always one message. */
  @Test
  void mutilatedAtRandom() throws IOException {
    List<String> files = List.of(RANK0, RANK1, REPLICATED, INDEX0, INDEX1);
    for (long seed = 0; seed < 60; seed++) {
      Random random = new Random(seed);
      Path damaged = model.resolve(files.get(random.nextInt(files.size())));
      byte[] whole = Files.readAllBytes(damaged);
      Path other = model.resolve(files.get(random.nextInt(files.size())));
      switch (other.equals(damaged) ? random.nextInt(2) : random.nextInt(3)) {
        case 0 -> Files.delete(damaged);
        case 1 -> Files.write(damaged, List.of("{}".repeat(random.nextInt(3))));
        default -> Files.copy(other, damaged, StandardCopyOption.REPLACE_EXISTING);
      }
      assertThatThrownBy(this::read)
          .as("seed %d, %s", seed, damaged.getFileName())
          .isInstanceOf(CheckpointException.class);
      Files.write(damaged, whole);
    }
    read();
  }
}
