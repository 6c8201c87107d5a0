package dev.gregale.convert;

import static java.util.Objects.requireNonNull;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.gregale.checkpoint.Checkpoint;
import dev.gregale.checkpoint.CheckpointException;
import dev.gregale.checkpoint.CheckpointLayout;
import dev.gregale.checkpoint.SafetensorsFile;
import dev.gregale.quantization.Quantization;
import dev.gregale.tensor.Shape;
import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.CancellationException;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/** Experts dealt out to ranks, against the reference's whole checkpoint of four experts. */
class ExpertRanksTest {
  private static final Path HF = Models.ODD0.resolve("hf");
  private static final Path TE = Models.ODD0.resolve("te");
  private static final long ONE_FILE = 1 << 30;
  @TempDir private Path folder;

  private Path ranks(Path source, int ranks, long maxShardBytes) throws IOException {
    Path target = folder.resolve("ep" + ranks);
    Models.convertQuickly(Models.ranks(source, target, ranks, maxShardBytes));
    return target;
  }

  private static void assertSameFiles(Path found, Path expected) throws IOException {
    for (String file : List.of("model.safetensors", "config.json")) {
      assertThat(Files.mismatch(found.resolve(file), expected.resolve(file))).isEqualTo(-1);
    }
  }

  private static List<String> names(Path directory) throws IOException {
    try (Stream<Path> files = Files.list(directory)) {
      return files.map(file -> file.getFileName().toString()).sorted().toList();
    }
  }

  /** What somebody does who has a rank's index and nothing of ours. */
  private static Map<String, SafetensorsFile> read(Path directory, int rank, int size)
      throws IOException {
    Path index = directory.resolve("model.safetensors.index.ep%d-of-%d.json".formatted(rank, size));
    JsonNode json = JsonMapper.shared().readTree(Files.readString(index));
    Map<String, SafetensorsFile> tensors = new TreeMap<>();
    Map<String, SafetensorsFile> files = new TreeMap<>();
    long bytes = 0;
    for (Map.Entry<String, JsonNode> entry : json.get("weight_map").properties()) {
      SafetensorsFile file =
          files.computeIfAbsent(
              entry.getValue().asString(), name -> SafetensorsFile.open(directory.resolve(name)));
      tensors.put(entry.getKey(), file);
      bytes += file.info(entry.getKey()).bytes();
    }
    files.values().forEach(file -> assertThat(tensors.keySet()).containsAll(file.names()));
    assertThat(json.at("/metadata/total_size").asLong()).isEqualTo(bytes);
    return tensors;
  }

  @Test
  void filesSayWhatTheyAre() throws IOException {
    Path ep2 = ranks(HF, 2, ONE_FILE);
    assertThat(names(ep2))
        .containsExactly(
            "config.json",
            "generation_config.json",
            "gregale-manifest.json",
            "model-ep0-of-2-00001-of-00001.safetensors",
            "model-ep1-of-2-00001-of-00001.safetensors",
            "model-replicated-00001-of-00001.safetensors",
            "model.safetensors.index.ep0-of-2.json",
            "model.safetensors.index.ep1-of-2.json");
    assertThat(ep2.resolve("config.json")).content().contains("\"expert_parallel_size\": 2");
    try (SafetensorsFile file =
        SafetensorsFile.open(ep2.resolve("model-ep1-of-2-00001-of-00001.safetensors"))) {
      assertThat(file.metadata()).containsOnlyKeys("format", "DCP_SHARDING_INFO", "DCP_VERSION");
      JsonNode offsets = JsonMapper.shared().readTree(file.metadata().get("DCP_SHARDING_INFO"));
      assertThat(offsets.propertyNames()).containsExactlyInAnyOrderElementsOf(file.names());
      assertThat(offsets.get("model.layers.1.mlp.experts_down_weight"))
          .hasToString("{\"saved_offsets\":[2,0,0]}");
    }
  }

  /** A rank has the whole's tensors under the same names, of stacked experts its own. */
  @ParameterizedTest
  @CsvSource({"2, 1073741824", "4, 1073741824", "2, 50000", "4, 1"})
  void aRankHasItsExperts(int size, long maxShardBytes) throws IOException {
    Path directory = ranks(HF, size, maxShardBytes);
    try (Checkpoint whole = Checkpoint.open(TE)) {
      for (int rank = 0; rank < size; rank++) {
        Map<String, SafetensorsFile> found = read(directory, rank, size);
        assertThat(found.keySet()).isEqualTo(whole.names());
        for (String name : whole.names()) {
          MemorySegment expected = whole.slabs(name).getFirst();
          Shape shape = whole.spec(name).shape();
          if (name.contains("experts")) {
            long bytes = expected.byteSize() / size;
            expected = expected.asSlice(rank * bytes, bytes);
            shape = shape.withFirst(4 / size);
          }
          SafetensorsFile file = requireNonNull(found.get(name));
          assertThat(file.info(name).shape()).as(name).isEqualTo(shape);
          assertThat(file.data(name).mismatch(expected)).as(name).isEqualTo(-1);
          long data = file.tensors().stream().mapToLong(tensor -> tensor.bytes()).sum();
          assertThat(file.tensors().size() == 1 || data <= maxShardBytes).isTrue();
        }
        found.values().forEach(SafetensorsFile::close);
      }
    }
  }

  @ParameterizedTest
  @CsvSource({"2, 1073741824", "4, 1073741824", "2, 50000"})
  void comesBackByteForByte(int size, long maxShardBytes) throws IOException {
    Path directory = ranks(HF, size, maxShardBytes);
    try (Checkpoint checkpoint = Checkpoint.open(directory)) {
      assertThat(checkpoint.expertParallelSize()).isEqualTo(size);
      Manifest.read(directory).verify(checkpoint);
    }
    Models.convertQuickly(Models.request(directory, folder.resolve("hf")));
    assertSameFiles(folder.resolve("hf"), HF);
    Models.convertQuickly(Models.ranks(directory, folder.resolve("te"), 1, ONE_FILE));
    assertSameFiles(folder.resolve("te"), TE);
  }

  @Test
  void fourRanksBecomeTwo() throws IOException {
    Path expected = ranks(HF, 2, ONE_FILE);
    Path found = folder.resolve("found");
    Models.convertQuickly(Models.ranks(ranks(HF, 4, 50_000), found, 2, ONE_FILE));
    for (String name : names(expected)) {
      if (!name.equals(Manifest.FILE_NAME)) { // has the identity of the conversion
        assertThat(Files.mismatch(found.resolve(name), expected.resolve(name))).isEqualTo(-1);
      }
    }
  }

  /** Codes and scales of a rank's experts are those of the whole, also dequantised. */
  @ParameterizedTest
  @EnumSource(mode = EnumSource.Mode.EXCLUDE, names = "NONE")
  void codesAndScales(Quantization quantization) throws IOException {
    Path whole = quantised(HF, "whole", quantization, 1);
    Path ep2 = quantised(HF, "ep2", quantization, 2);
    Path carried = folder.resolve("carried");
    Models.convertQuickly(Models.ranks(ep2, carried, 1, ONE_FILE));
    assertSameFiles(carried, whole);
    Models.convertQuickly(Models.ranks(whole, folder.resolve("carried2"), 2, ONE_FILE));
    for (String file : List.of("model-ep1-of-2-00001-of-00001.safetensors", "config.json")) {
      assertThat(Files.mismatch(ep2.resolve(file), folder.resolve("carried2").resolve(file)))
          .isEqualTo(-1);
    }
    assertThat(Models.tensors(dequantised(ep2, 2)))
        .isEqualTo(Models.tensors(dequantised(whole, 1)));
  }

  private Path quantised(Path source, String name, Quantization quantization, int ranks)
      throws IOException {
    Path target = folder.resolve(name);
    CheckpointLayout to = CheckpointLayout.TRANSFORMER_ENGINE;
    Models.convertQuickly(
        new ConversionRequest(
            source, target, to, null, quantization, false, ONE_FILE, ranks, false, false));
    return target;
  }

  private Path dequantised(Path source, int ranks) throws IOException {
    Path target = folder.resolve("values" + ranks);
    CheckpointLayout to = CheckpointLayout.TRANSFORMER_ENGINE;
    Models.convertQuickly(
        new ConversionRequest(
            source, target, to, null, Quantization.NONE, true, ONE_FILE, ranks, false, false));
    return target;
  }

  @Test
  void anInterruptedConversionGoesOn() throws IOException {
    Path expected = ranks(HF, 2, 50_000);
    Path target = folder.resolve("target");
    ConversionRequest request = Models.ranks(HF, target, 2, 50_000);
    assertThatThrownBy(
            () ->
                new CheckpointConverter(Channels.SYSTEM, 100_000, null)
                    .convert(
                        request,
                        progress -> {
                          if (progress.bytesDone() > 700_000) {
                            throw new CancellationException("enough");
                          }
                        }))
        .isInstanceOf(CancellationException.class);
    assertThatThrownBy(() -> Models.convert(Models.ranks(HF, target, 4, 50_000)))
        .isInstanceOf(TargetException.class)
        .hasMessageContaining("an interrupted conversion of another source or with other options");
    assertThat(Models.convert(request).resumedBytes()).isBetween(300_000L, 900_000L);
    assertThat(names(target)).isEqualTo(names(expected));
    for (String name : names(expected)) {
      assertThat(Files.mismatch(target.resolve(name), expected.resolve(name))).isEqualTo(-1);
    }
  }

  @Test
  void aLostByteOfARankIsNoticed() throws IOException {
    Path ep2 = ranks(HF, 2, ONE_FILE);
    Models.changeLastByte(ep2.resolve("model-ep1-of-2-00001-of-00001.safetensors"));
    try (Checkpoint checkpoint = Checkpoint.open(ep2)) {
      assertThatThrownBy(() -> Manifest.read(ep2).verify(checkpoint))
          .isInstanceOf(CheckpointException.class)
          .hasMessageContaining("model-ep1-of-2-00001-of-00001.safetensors: tensor 'model.layers.");
    }
  }

  @Test
  void whatCannotBeDividedIsRefusedWithTheArithmetic() {
    for (int size : new int[] {3, 5, 8}) {
      assertThatThrownBy(() -> Models.convert(Models.ranks(HF, folder.resolve("x"), size, 1)))
          .isInstanceOf(CheckpointException.class)
          .hasMessageEndingWith(
              "config.json: 4 experts cannot be divided by %d: %d remain; deal them out to 1 or 2"
                      .formatted(size, 4 % size)
                  + " or 4 ranks");
    }
    assertThat(folder).isEmptyDirectory();
    assertThatThrownBy(
            () ->
                new ConversionRequest(
                    HF,
                    folder,
                    CheckpointLayout.HUGGING_FACE,
                    null,
                    Quantization.NONE,
                    false,
                    1,
                    2,
                    false,
                    false))
        .isInstanceOf(IllegalArgumentException.class);
  }
}
