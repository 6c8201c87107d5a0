package dev.gregale.checkpoint;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.gregale.tensor.DType;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class CheckpointTest {

  private static final String INDEX = SafetensorsIndex.FILE_NAME;
  private static final String TWO_SHARDS =
      "{\"metadata\":{\"total_size\":2,\"x\":[{}]},"
          + "\"weight_map\":{\"b\":\"2.safetensors\",\"a\":\"1.safetensors\"}}";

  @TempDir Path root;

  @Test
  void shardsHoldTheTensorsOfTheSingleFile() {
    try (Checkpoint single = Checkpoint.open(Golden.ODD0.resolve("hf"));
        Checkpoint sharded = Checkpoint.open(Golden.ODD0.resolve("hf-sharded"))) {
      assertThat(sharded.names()).hasSize(41).containsExactlyInAnyOrderElementsOf(single.names());
      for (String name : single.names()) {
        assertThat(Golden.bytes(sharded.tensor(name)))
            .as(name)
            .isEqualTo(Golden.bytes(single.tensor(name)));
      }
      assertThat(single.path("lm_head.weight")).hasFileName("model.safetensors");
      assertThat(sharded.path("lm_head.weight")).hasFileName("model-00008-of-00008.safetensors");
    }
  }

  @Test
  void readsShardsAndIgnoresOtherKeysOfTheIndex() {
    shard("1.safetensors", "a");
    shard("2.safetensors", "b");
    Golden.write(root, INDEX, TWO_SHARDS);
    try (Checkpoint checkpoint = Checkpoint.open(root)) {
      assertThat(checkpoint.names()).containsExactly("b", "a");
      assertThat(checkpoint.contains("a")).isTrue();
      assertThat(checkpoint.contains("c")).isFalse();
      assertThatThrownBy(() -> checkpoint.tensor("c"))
          .isInstanceOf(CheckpointException.class)
          .hasMessage(root + ": no tensor 'c' among its 2");
    }
  }

  @Test
  void refusesShardsThatDisagreeWithTheIndex() {
    shard("1.safetensors", "a");
    shard("2.safetensors", "c");
    Golden.write(root, INDEX, TWO_SHARDS);
    assertRefused("2.safetensors: no tensor 'b', which the index says is in this shard");
    shard("2.safetensors", "a", "b");
    assertRefused("tensor 'a' lies in shard 2.safetensors, the index says 1.safetensors");
    shard("2.safetensors", "b", "c");
    assertRefused("tensor 'c' lies in shard 2.safetensors, the index says null");
    Golden.write(root, "2.safetensors", new byte[4]);
    assertRefused("2.safetensors: 4 bytes");
  }

  @Test
  void refusesAMissingShard() {
    shard("1.safetensors", "a");
    Golden.write(root, INDEX, TWO_SHARDS);
    assertRefused("2.safetensors: no such file");
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "../outside/1.safetensors",
        "..",
        "../1.safetensors",
        "sub/1.safetensors",
        "./1.safetensors",
        "/etc/passwd",
        "/tmp/1.safetensors",
        "..\\\\1.safetensors",
        "C:\\\\1.safetensors",
        "C:1.safetensors",
        "1.safetensors\\u0000",
        "1.safetensors\\n",
        "",
        ".safetensors",
        "..safetensors",
        "-1.safetensors",
        "1.bin",
        "pytorch_model.pt",
        "%2e%2e%2f1.safetensors",
        "\\u00e9.safetensors",
        "~/1.safetensors"
      })
  void refusesHostileShardNames(String name) {
    Path outside = root.resolve("outside");
    Golden.write(outside, "1.safetensors", Golden.file("{}", 0));
    Path model = root.resolve("model");
    Golden.write(model.resolve("sub"), "1.safetensors", Golden.file("{}", 0));
    Golden.write(model, INDEX, "{\"weight_map\":{\"a\":\"" + name + "\"}}");
    assertThatThrownBy(() -> Checkpoint.open(model))
        .isInstanceOf(CheckpointException.class)
        .hasMessageStartingWith(model.resolve(INDEX) + ": tensor 'a': shard '")
        .hasMessageContaining("expected the plain name of a .safetensors file beside the index");
  }

  @Test
  void followsNoLinkOutOfTheDirectory() throws IOException {
    Path outside = root.resolve("outside");
    Files.createDirectories(outside);
    SafetensorsWriter.write(
        outside.resolve("x.safetensors"), List.of(Golden.counting("a", DType.U8, 0, 1)), Map.of());
    Path model = Files.createDirectories(root.resolve("model"));
    Path link = model.resolve("model.safetensors");
    Files.createSymbolicLink(link, Path.of("../outside/x.safetensors"));
    assertThatThrownBy(() -> Checkpoint.open(model))
        .isInstanceOf(CheckpointException.class)
        .hasMessage(link + ": a symbolic link out of the directory, expected a file within it");
    // The same through an index, and through a link to a link.
    Files.move(link, model.resolve("1.safetensors"));
    Files.createSymbolicLink(model.resolve("2.safetensors"), Path.of("1.safetensors"));
    Golden.write(model, INDEX, "{\"weight_map\":{\"a\":\"2.safetensors\"}}");
    assertThatThrownBy(() -> Checkpoint.open(model))
        .isInstanceOf(CheckpointException.class)
        .hasMessageContaining("2.safetensors: a symbolic link out of the directory");
  }

  @Test
  void followsLinksWithinTheDirectoryAndOfTheHuggingFaceCache() throws IOException {
    Path blobs = Files.createDirectories(root.resolve("models--a--b/blobs"));
    SafetensorsWriter.write(
        blobs.resolve("0123abc"), List.of(Golden.counting("a", DType.U8, 0, 1)), Map.of());
    Path snapshot = Files.createDirectories(root.resolve("models--a--b/snapshots/4567def"));
    Path link = snapshot.resolve("model.safetensors");
    Files.createSymbolicLink(link, Path.of("../../blobs/0123abc"));
    try (Checkpoint checkpoint = Checkpoint.open(snapshot)) {
      assertThat(checkpoint.names()).containsExactly("a");
    }
    Files.move(blobs.resolve("0123abc"), snapshot.resolve("real"));
    Files.delete(link);
    Files.createSymbolicLink(link, Path.of("real"));
    try (Checkpoint checkpoint = Checkpoint.open(snapshot)) {
      assertThat(checkpoint.names()).containsExactly("a");
    }
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '`',
      textBlock =
          """
          [] | index: found an array, expected an object
          {} | no tensors in weight_map
          {"weight_map":{}} | no tensors in weight_map
          {"weight_map":[]} | weight_map: found an array, expected an object
          {"weight_map":{"a":1}} | weight_map 'a': found an integer, expected a string
          {"weight_map":{"a":null}} | found null, expected a string
          {"weight_map":{"a":"1.safetensors","a":"2.safetensors"}} | tensor 'a' occurs twice
          {"weight_map":{"a":"1.safetensors"},"weight_map":{}} | duplicate key 'weight_map'
          {"weight_map":{"a":"1.safetensors" | not valid JSON
          {"metadata":[[[[[[[[[1]]]]]]]]]} | nesting depth
          """)
  void refusesMalformedIndices(String index, String message) {
    shard("1.safetensors", "a");
    Golden.write(root, INDEX, index);
    assertRefused(message);
  }

  @Test
  void refusesPickledWeights() {
    Golden.write(root, "pytorch_model-00001-of-00002.bin", "x");
    Golden.write(root, "pytorch_model.bin.index.json", "{}");
    Golden.write(root, "config.json", "{}");
    assertRefused(
        "only pickled weights ('pytorch_model-00001-of-00002.bin, pytorch_model.bin.index.json')");
    assertRefused("convert them to safetensors first");
  }

  @Test
  void refusesDirectoriesWithoutWeights() {
    assertRefused(": no weights, expected model.safetensors or model.safetensors.index.json");
    assertThatThrownBy(() -> Checkpoint.open(root.resolve("none")))
        .isInstanceOf(CheckpointException.class)
        .hasMessageEndingWith("none: no such directory");
  }

  private void shard(String name, String... tensors) {
    SafetensorsWriter.write(
        root.resolve(name),
        java.util.Arrays.stream(tensors).map(t -> Golden.counting(t, DType.U8, 1, 1)).toList(),
        Map.of());
  }

  private void assertRefused(String message) {
    assertThatThrownBy(() -> Checkpoint.open(root))
        .isInstanceOf(CheckpointException.class)
        .hasMessageContaining(message);
  }
}
