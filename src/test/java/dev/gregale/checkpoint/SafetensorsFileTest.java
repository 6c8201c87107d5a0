package dev.gregale.checkpoint;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.gregale.tensor.DType;
import dev.gregale.tensor.Shape;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Map;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class SafetensorsFileTest {

  private static final String A = "\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}";

  @TempDir Path directory;

  @Test
  void readsWhatTheFormatAllows() {
    String header =
        "{ \"b\" : {\"shape\":[2,3],\"data_offsets\":[4,16],\"dtype\":\"BF16\"},"
            + "\"empty\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[4,4]},"
            + "\"__metadata__\":{\"format\":\"pt\",\"k\\u00e9\":\"\"},"
            + A
            + ",\"scalar\":{\"dtype\":\"I16\",\"shape\":[],\"data_offsets\":[16,18]}}     ";
    byte[] bytes = Golden.file(header, 18);
    int dataStart = bytes.length - 18;
    for (int i = 0; i < 18; i++) {
      bytes[dataStart + i] = (byte) i;
    }
    try (SafetensorsFile file = SafetensorsFile.open(Golden.write(directory, "x", bytes))) {
      assertThat(file.names()).containsExactly("a", "empty", "b", "scalar");
      assertThat(file.metadata()).isEqualTo(Map.of("format", "pt", "ké", ""));
      assertThat(file.info("b"))
          .isEqualTo(new TensorInfo("b", DType.BF16, Shape.of(2, 3), dataStart + 4, 12));
      assertThat(Golden.bytes(file.tensor("b")))
          .containsExactly(4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
      assertThat(Golden.bytes(file.tensor("scalar"))).containsExactly(16, 17);
      assertThat(file.data("empty").byteSize()).isZero();
      assertThat(file.data("a").isReadOnly()).isTrue();
      assertThatThrownBy(() -> file.tensor("c"))
          .isInstanceOf(CheckpointException.class)
          .hasMessageContaining("no tensor 'c' among its 4");
    }
  }

  @Test
  void readsAFileWithoutTensors() {
    assertThat(parse(Golden.file("{}", 0)).tensors()).isEmpty();
    assertThat(parse(Golden.file("{}      ", 0)).tensors()).isEmpty();
  }

  @Test
  void dataIsGoneAfterClose() {
    SafetensorsFile file =
        SafetensorsFile.open(Golden.write(directory, "x", Golden.file("{" + A + "}", 4)));
    var data = file.data("a");
    file.close();
    assertThatThrownBy(() -> data.get(ValueLayout.JAVA_BYTE, 0))
        .isInstanceOf(IllegalStateException.class);
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '`',
      textBlock =
          """
          # Two entries of one key: readers disagree on which counts.
          "a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]} | 4 | tensor 'a' occurs twice
          "a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"\\u0061":{"dtype":"F32","shape":[1],"data_offsets":[0,4]} | 4 | tensor 'a' occurs twice
          "a":{"dtype":"U8","dtype":"F32","shape":[1],"data_offsets":[0,4]} | 4 | duplicate or unknown key 'dtype'
          "a":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"shape":[1]} | 4 | duplicate or unknown key 'shape'
          "__metadata__":{},"__metadata__":{} | 0 | duplicate key '__metadata__'
          "__metadata__":{"k":"1","k":"2"} | 0 | duplicate key 'k'
          # 4194305 * 4194305 * 211106198978564 is 4 modulo 2^64.
          "a":{"dtype":"U8","shape":[4194305,4194305,211106198978564],"data_offsets":[0,4]} | 4 | more bytes than a long can count
          "a":{"dtype":"F32","shape":[4611686018427387905],"data_offsets":[0,4]} | 4 | more bytes than a long can count
          "a":{"dtype":"U8","shape":[18446744073709551620],"data_offsets":[0,4]} | 4 | 18446744073709551620 is beyond 2^63
          "a":{"dtype":"U8","shape":[99999999999999999999999],"data_offsets":[0,4]} | 4 | Number value length
          # A shape that its data_offsets do not bear out.
          "a":{"dtype":"F32","shape":[1000,1000],"data_offsets":[0,4]} | 4 | needs 4000000 bytes, data_offsets [0, 4] have 4
          "a":{"dtype":"F32","shape":[1],"data_offsets":[0,8]} | 8 | needs 4 bytes, data_offsets [0, 8] have 8
          "a":{"dtype":"F32","shape":[1],"data_offsets":[0,0]} | 0 | needs 4 bytes, data_offsets [0, 0] have 0
          "a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]} | 4 | found -1, expected integers of 0 or more
          "a":{"dtype":"U8","shape":[-0],"data_offsets":[0,0]} | 0 | found -0, expected integers of 0 or more
          "a":{"dtype":"F32","shape":[1.0],"data_offsets":[0,4]} | 4 | found 1.0, expected integers
          "a":{"dtype":"F32","shape":["1"],"data_offsets":[0,4]} | 4 | found a string, expected integers
          "a":{"dtype":"F32","shape":1,"data_offsets":[0,4]} | 4 | shape: found an integer, expected an array
          "a":{"dtype":"F32","shape":[1,1,1,1,1,1,1,1,1],"data_offsets":[0,4]} | 4 | shape: found more than 8 numbers
          "a":{"dtype":"F7","shape":[1],"data_offsets":[0,4]} | 4 | unknown dtype 'F7', expected one of [F64
          "a":{"dtype":"f32","shape":[1],"data_offsets":[0,4]} | 4 | unknown dtype 'f32'
          "a":{"dtype":32,"shape":[1],"data_offsets":[0,4]} | 4 | dtype: found an integer, expected a string
          "a":{"shape":[1],"data_offsets":[0,4]} | 4 | expected dtype, shape and data_offsets
          "a":{"dtype":"F32","data_offsets":[0,4]} | 4 | expected dtype, shape and data_offsets
          "a":{"dtype":"F32","shape":[1]} | 4 | expected dtype, shape and data_offsets
          "a":{"dtype":"F32","shape":[1],"data_offsets":[0]} | 4 | data_offsets of two numbers
          "a":{"dtype":"F32","shape":[1],"data_offsets":[0,4,8]} | 4 | found more than 2 numbers
          "a":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"x":1} | 4 | duplicate or unknown key 'x'
          "a":[] | 0 | tensor 'a': found an array, expected an object
          # Ranges: backwards, beyond the file, with holes, overlapping, not to the end.
          "a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]} | 4 | data_offsets [4, 0], expected a range within the 4 bytes
          "a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]} | 7 | data_offsets [4, 8], expected a range within the 7 bytes
          "a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]} | 3 | expected a range within the 3 bytes
          "a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]} | 8 | begins at 4, expected 0 where the one before ends: bytes without a tensor
          "a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1],"data_offsets":[8,12]} | 12 | tensor 'b': data begins at 8, expected 4
          "a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"U8","shape":[2],"data_offsets":[3,5]} | 5 | tensor 'b': data begins at 3, expected 4 where the one before ends: they overlap
          "a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]} | 4 | they overlap
          "a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]} | 5 | 5 bytes of data, the tensors cover 4
          "a":{"dtype":"F32","shape":[1],"data_offsets":[0,9223372036854775807]} | 4 | expected a range within
          # An empty tensor may share a border with others, not lie inside one.
          "a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"e":{"dtype":"U8","shape":[0],"data_offsets":[2,2]} | 4 | they overlap
          "e":{"dtype":"U8","shape":[0],"data_offsets":[1,1]} | 0 | expected a range within the 0 bytes
          "e":{"dtype":"U8","shape":[0,9223372036854775807,3],"data_offsets":[0,1]} | 1 | needs 0 bytes
          "__metadata__":{"k":1} | 0 | __metadata__ 'k': found an integer, expected a string
          "__metadata__":{"k":null} | 0 | found null, expected a string
          "__metadata__":{"k":{}} | 0 | found an object, expected a string
          "__metadata__":[] | 0 | __metadata__: found an array, expected an object
          "a\\ud800":{} | 0 | surrogate
          "a\\udc00":{} | 0 | surrogate
          "__metadata__":{"k":"\\ud800"} | 0 | surrogate
          "__metadata__":{"k":"\\udc00"} | 0 | surrogate
          "a":{"dtype":"F32","shape":[01],"data_offsets":[0,4]} | 4 | not valid JSON
          "a":{"dtype":"F32","shape":[1,],"data_offsets":[0,4]} | 4 | not valid JSON
          "a":{"dtype":"F32","shape":[[[[[[[1]]]]]]],"data_offsets":[0,4]} | 4 | found an array, expected integers
          """)
  void refuses(String entries, int dataBytes, String message) {
    assertRefused(Golden.file("{" + entries + "}", dataBytes), message);
  }

  @ParameterizedTest
  @ValueSource(longs = {-1, Long.MIN_VALUE, 100_000_001, 0, 1})
  void refusesHeaderLengths(long length) {
    byte[] bytes = Golden.file("{" + A + "}", 4);
    putLength(bytes, length);
    assertRefused(bytes, "header length " + Long.toUnsignedString(length) + ", expected 2 to");
  }

  @Test
  void refusesAHeaderBeyondTheFile() {
    byte[] bytes = Golden.file("{" + A + "}", 0);
    putLength(bytes, bytes.length - 7);
    assertRefused(bytes, "but only " + (bytes.length - 8) + " bytes follow");
  }

  @Test
  void refusesEveryTruncation() {
    byte[] whole = Golden.file("{" + A + "}", 4);
    for (int length = 0; length < whole.length; length++) {
      byte[] cut = Arrays.copyOf(whole, length);
      assertThatThrownBy(() -> parse(cut)).isInstanceOf(CheckpointException.class);
    }
    assertRefused(new byte[7], "7 bytes, a safetensors file has at least 8");
    assertRefused(Arrays.copyOf(whole, whole.length + 1), "5 bytes of data");
  }

  @ParameterizedTest
  @CsvSource({
    "[], begin with",
    "' {}', begin with",
    "'{}\n', 0x0a",
    "'{}{}', 0x7b",
    "'{} x ', 0x78"
  })
  void refusesTextAroundTheObject(String header, String message) {
    assertRefused(Golden.file(header, 0), message);
  }

  @Test
  void refusesUnfinishedJson() {
    assertRefused(Golden.file("{\"a\":{", 0), "not valid JSON");
    assertRefused(Golden.file("{" + A + "  ", 4), "not valid JSON");
  }

  @Test
  void refusesOtherEncodings() {
    assertRefused(Golden.file("{}".getBytes(StandardCharsets.UTF_16LE), 0), "NUL byte");
    byte[] utf8 = "{\"é\":{}}".getBytes(StandardCharsets.UTF_8);
    utf8[3] = (byte) 'x'; // leaves a first byte without its second
    assertRefused(Golden.file(utf8, 0), "malformed UTF-8 at byte 2");
    byte[] overlong = "{\"__\":{}}".getBytes(StandardCharsets.UTF_8);
    overlong[2] = (byte) 0xC1; // 'a' in two bytes
    overlong[3] = (byte) 0xA1;
    assertRefused(Golden.file(overlong, 0), "malformed UTF-8 at byte 2");
    byte[] surrogate = "{\"___\":{}}".getBytes(StandardCharsets.UTF_8);
    surrogate[2] = (byte) 0xED;
    surrogate[3] = (byte) 0xA0;
    surrogate[4] = (byte) 0x80;
    assertRefused(Golden.file(surrogate, 0), "malformed UTF-8 at byte 2");
  }

  @Test
  void refusesALotOfTensorsOverTheSameBytes() {
    String entries =
        IntStream.range(0, 60_000)
            .mapToObj(
                i -> "\"%d\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]}".formatted(i))
            .collect(Collectors.joining(","));
    assertRefused(Golden.file("{" + entries + "}", 4), "they overlap");
  }

  @Test
  void refusesHugeNamesStringsAndDepths() {
    assertRefused(Golden.file("{\"" + "n".repeat(5000) + "\":{}}", 0), "Name length");
    assertRefused(
        Golden.file("{\"__metadata__\":{\"k\":\"" + "v".repeat(1 << 21) + "\"}}", 0),
        "String value length");
    assertRefused(Golden.file("{\"a\":" + "[".repeat(100_000), 0), "expected an object");
  }

  @Test
  void boundsTheNumberOfEntries() {
    String tensors =
        IntStream.rangeClosed(0, SafetensorsHeader.MAX_TENSORS)
            .mapToObj(
                i -> "\"%d\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}".formatted(i))
            .collect(Collectors.joining(","));
    assertRefused(Golden.file("{" + tensors + "}", 0), "more than 65536 tensors");
    String metadata =
        IntStream.rangeClosed(0, SafetensorsHeader.MAX_METADATA)
            .mapToObj(i -> "\"%d\":\"\"".formatted(i))
            .collect(Collectors.joining(","));
    assertRefused(
        Golden.file("{\"__metadata__\":{" + metadata + "}}", 0), "more than 16384 entries");
  }

  @Test
  void namesTheFileThatCannotBeRead() {
    assertThatThrownBy(() -> SafetensorsFile.open(directory.resolve("none")))
        .isInstanceOf(CheckpointException.class)
        .hasMessageEndingWith("none: no such file");
    assertThatThrownBy(() -> SafetensorsFile.open(directory))
        .isInstanceOf(CheckpointException.class)
        .hasMessageEndingWith(": not a regular file");
    Path bad = Golden.write(directory, "bad.safetensors", new byte[3]);
    assertThatThrownBy(() -> SafetensorsFile.open(bad))
        .isInstanceOf(CheckpointException.class)
        .hasMessageStartingWith(bad + ": 3 bytes");
  }

  @Test
  void messagesRepeatNoControlCharacters() {
    byte[] bytes = Golden.file("{\"a\\n\\u001b[31m\":[]}", 0);
    assertRefused(bytes, "tensor 'a\\u000a\\u001b[31m': found an array");
  }

  private static SafetensorsHeader parse(byte[] bytes) {
    return SafetensorsHeader.parse("test", MemorySegment.ofArray(bytes));
  }

  private static void assertRefused(byte[] bytes, String message) {
    assertThatThrownBy(() -> parse(bytes))
        .isInstanceOf(CheckpointException.class)
        .hasMessageStartingWith("test: ")
        .hasMessageContaining(message);
  }

  private static void putLength(byte[] bytes, long length) {
    ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN).putLong(0, length);
  }
}
