package dev.gregale.tokenizer;

import static dev.gregale.tokenizer.TestTokenizers.DEMO_MODEL;
import static dev.gregale.tokenizer.TestTokenizers.ints;
import static dev.gregale.tokenizer.TestTokenizers.resource;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.OptionalInt;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestInstance;
import org.junit.jupiter.api.io.TempDir;
import tools.jackson.databind.JsonNode;

@TestInstance(TestInstance.Lifecycle.PER_CLASS)
class DjlTokenizerTest {

  private DjlTokenizer tokenizer;
  private JsonNode golden;

  @BeforeAll
  void load() throws IOException {
    tokenizer = TestTokenizers.demo();
    golden = resource("/golden/tokenizer/cases.json");
  }

  @AfterAll
  void close() {
    tokenizer.close();
  }

  @Test
  void encodesAsHuggingFace() {
    assertThat(golden.path("encode").size()).isPositive();
    for (JsonNode c : golden.path("encode")) {
      String text = c.path("text").stringValue();
      int[] ids = tokenizer.encode(text, true);
      assertThat(ids).as(text).isEqualTo(ints(c.path("ids")));
      assertThat(tokenizer.encode(text, false)).as(text).isEqualTo(ints(c.path("ids_no_special")));
      assertThat(Arrays.stream(ids).mapToObj(tokenizer::token))
          .as(text)
          .containsExactlyElementsOf(
              c.path("tokens").valueStream().map(JsonNode::stringValue).toList());
    }
  }

  @Test
  void decodesAsHuggingFace() {
    for (JsonNode c : golden.path("encode")) {
      int[] ids = ints(c.path("ids"));
      assertDecoded(ids, c);
      assertThat(tokenizer.decode(ints(c.path("ids_no_special")), false))
          .isEqualTo(c.path("decoded_no_special_ids").stringValue());
    }
    assertThat(golden.path("decode").size()).isPositive();
    for (JsonNode c : golden.path("decode")) {
      assertDecoded(ints(c.path("ids")), c);
    }
  }

  private void assertDecoded(int[] ids, JsonNode expected) {
    String what = Arrays.toString(ids);
    assertThat(tokenizer.decode(ids, true))
        .as(what)
        .isEqualTo(expected.path("decoded_skip_special").stringValue());
    assertThat(tokenizer.decode(ids, false))
        .as(what)
        .isEqualTo(expected.path("decoded").stringValue());
  }

  @Test
  void knowsItsVocabulary() {
    assertThat(tokenizer.vocabSize()).isEqualTo(golden.path("vocab_size").intValue());
    assertThat(tokenizer.bosTokenId()).isEqualTo(OptionalInt.of(1));
    assertThat(tokenizer.eosTokenId()).isEqualTo(OptionalInt.of(2));
    assertThat(tokenizer.token(13)).isEqualTo("<0x0A>");
    assertThat(tokenizer.token(tokenizer.vocabSize())).isEmpty();
    assertThat(tokenizer.token(-1)).isEmpty();
  }

  /** The library's default is to cut at 512 tokens without a word. */
  @Test
  void neverTruncates() {
    String text = "king ".repeat(6000);
    int[] ids = tokenizer.encode(text, true);
    assertThat(ids).hasSizeGreaterThan(6000);
    assertThat(tokenizer.decode(ids, true)).isEqualTo(text);
  }

  @Test
  void refusesTextBeyondItsLimit() {
    try (DjlTokenizer small = DjlTokenizer.open(DEMO_MODEL, 10).orElseThrow()) {
      assertThat(small.encode("0123456789", false)).isNotEmpty();
      assertThatThrownBy(() -> small.encode("0123456789a", false))
          .isInstanceOf(TextTooLongException.class)
          .hasMessageContaining("11")
          .hasMessageContaining("10");
    }
  }

  @Test
  void readsLoneSurrogatesAsReplacementCharacters() {
    for (String text : List.of("a\uD800b", "\uDC00", "x\uD83D", "\uDE42\uD83D", "\uD83D\uDE42")) {
      String expected = text.equals("\uD83D\uDE42") ? text : text.replaceAll("\\p{Cs}", "\uFFFD");
      assertThat(tokenizer.decode(tokenizer.encode(text, false), true)).isEqualTo(expected);
    }
  }

  @Test
  void decodesIdsBeyondTheVocabularyAsNothingAndRefusesNegativeOnes() {
    int[] ids = {433, 4096, 290, Integer.MAX_VALUE};
    assertThat(tokenizer.decode(ids, false))
        .isEqualTo(tokenizer.decode(new int[] {433, 290}, true));
    assertThatThrownBy(() -> tokenizer.decode(new int[] {5, -1}, true))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("-1");
  }

  @Test
  void isEmptyForADirectoryWithoutTokenizer(@TempDir Path directory) {
    assertThat(DjlTokenizer.open(directory, 100)).isEmpty();
  }

  @Test
  void namesACorruptFile(@TempDir Path directory) throws IOException {
    byte[] whole = Files.readAllBytes(DEMO_MODEL.resolve("tokenizer.json"));
    Path file = directory.resolve("tokenizer.json");
    List<byte[]> corrupt =
        List.of(
            Arrays.copyOf(whole, whole.length / 2),
            new byte[0],
            "[]".getBytes(),
            "{}".getBytes(),
            "{\"model\": {\"vocab\": {\"a\": -1}}}".getBytes(),
            "{\"model\": {\"vocab\": {\"a\": 2000000000}}}".getBytes(),
            "{\"model\": {\"type\": \"nonesuch\", \"vocab\": {\"a\": 0}}}".getBytes());
    for (byte[] bytes : corrupt) {
      Files.write(file, bytes);
      assertThatThrownBy(() -> DjlTokenizer.open(directory, 100))
          .isInstanceOf(TokenizerLoadException.class)
          .hasMessageContaining(file.toString());
    }
  }

  @Test
  void servesSeveralThreads() throws Exception {
    List<JsonNode> cases = golden.path("encode").valueStream().toList();
    try (var threads = Executors.newFixedThreadPool(4)) {
      List<Future<Integer>> checked = new ArrayList<>();
      for (int thread = 0; thread < 4; thread++) {
        checked.add(threads.submit(() -> checkAll(cases)));
      }
      for (Future<Integer> count : checked) {
        assertThat(count.get()).isEqualTo(10 * cases.size());
      }
    }
  }

  private int checkAll(List<JsonNode> cases) {
    int checked = 0;
    for (int round = 0; round < 10; round++) {
      for (JsonNode c : cases) {
        int[] ids = tokenizer.encode(c.path("text").stringValue(), true);
        assertThat(ids).isEqualTo(ints(c.path("ids")));
        assertThat(tokenizer.decode(ids, true))
            .isEqualTo(c.path("decoded_skip_special").stringValue());
        checked++;
      }
    }
    return checked;
  }

  @Test
  void closingWaitsForCallsAndStopsLaterOnes() throws Exception {
    DjlTokenizer closing = TestTokenizers.demo();
    String text = "Once upon a time ".repeat(200);
    int[] expected = closing.encode(text, true);
    try (var threads = Executors.newFixedThreadPool(4)) {
      CountDownLatch begun = new CountDownLatch(12); // three texts of each, in the mean
      List<Future<Boolean>> callers = new ArrayList<>();
      for (int thread = 0; thread < 4; thread++) {
        callers.add(threads.submit(() -> encodesRightUntilClosed(closing, text, expected, begun)));
      }
      assertThat(begun.await(10, TimeUnit.SECONDS)).isTrue();
      closing.close();
      for (Future<Boolean> caller : callers) {
        assertThat(caller.get()).isTrue();
      }
    }
    closing.close();
    assertThatThrownBy(() -> closing.decode(expected, true))
        .isInstanceOf(IllegalStateException.class)
        .hasMessageContaining("closed");
  }

  private static boolean encodesRightUntilClosed(
      DjlTokenizer closing, String text, int[] expected, CountDownLatch begun) {
    while (true) {
      try {
        if (!Arrays.equals(closing.encode(text, true), expected)) {
          return false;
        }
        begun.countDown();
      } catch (IllegalStateException closed) {
        return true;
      }
    }
  }

  @Test
  void keepsTheLibraryOffTheNetworkAndOffTheGpu() {
    assertThat(System.getProperty("ai.djl.offline")).isEqualTo("true");
    assertThat(System.getProperty("RUST_FLAVOR")).isEqualTo("cpu");
    assertThat(System.getProperty("OPT_OUT_TRACKING")).isEqualTo("true");
  }

  @Test
  void unpacksIntoAPrivateDirectoryWhereTheDefaultCannotBeWritten(@TempDir Path directory)
      throws IOException {
    Path writable = directory.resolve("home/.djl.ai");
    assertThat(DjlEnvironment.cacheDirectory(writable)).isEqualTo(writable).isDirectory();
    Path file = Files.writeString(directory.resolve("file"), "in the way");
    Path substitute = DjlEnvironment.cacheDirectory(file.resolve(".djl.ai"));
    assertThat(substitute).isDirectory().isWritable();
    assertThat(Files.getPosixFilePermissions(substitute)).hasSize(3); // the owner's
  }
}
