package dev.gregale.tokenizer;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.OptionalInt;
import java.util.SplittableRandom;
import java.util.random.RandomGenerator;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestInstance;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

@TestInstance(TestInstance.Lifecycle.PER_CLASS)
class IncrementalDetokenizerTest {

  private static final int SEQUENCES = 400;
  private static final int MAX_LENGTH = 60;
  private static final List<String> TEXTS =
      List.of(
          "Once upon a time,\nthere was a king.\n\n\"Who is it?\"  he said.",
          "naïve 🙂 中文 🏽🦊👩‍👩‍👧‍👦 日本語テキスト a\u00a0b",
          "  two leading, <s> and </s> inside, � itself, trailing  ",
          "Привет, мир! 한국어 🇩🇪🇫🇷\t\r\n");

  private DjlTokenizer byteFallback;
  private DjlTokenizer byteLevel;

  @BeforeAll
  void load(@TempDir Path directory) throws IOException {
    byteFallback = TestTokenizers.demo();
    byteLevel = byteLevelTokenizer(directory);
  }

  @AfterAll
  void close() {
    byteFallback.close();
    byteLevel.close();
  }

  /** Every kind of id: words, bytes, special tokens, a padded model's, and real text's. */
  private int[] randomIds(Tokenizer tokenizer, RandomGenerator random) {
    int length = random.nextInt(MAX_LENGTH);
    int kind = random.nextInt(5);
    int[] text = tokenizer.encode(TEXTS.get(random.nextInt(TEXTS.size())), random.nextBoolean());
    int textStart = random.nextInt(text.length);
    return IntStream.range(0, length)
        .map(
            i ->
                switch (kind) {
                  case 0 -> random.nextInt(tokenizer.vocabSize());
                  case 1 -> random.nextInt(Math.min(tokenizer.vocabSize(), 262));
                  case 2 -> random.nextInt(10) < 3 ? random.nextInt(3) : 100 + random.nextInt(140);
                  case 3 -> random.nextInt(tokenizer.vocabSize() + 20);
                  default -> text[(textStart + i) % text.length];
                })
        .toArray();
  }

  @ParameterizedTest
  @ValueSource(longs = {1, 2, 3, 4, 5})
  void joinsToTheDecodedWhole(long seed) {
    RandomGenerator random = new SplittableRandom(seed);
    for (int n = 0; n < SEQUENCES; n++) {
      Tokenizer tokenizer = n % 4 == 0 ? byteLevel : byteFallback;
      boolean skip = random.nextBoolean();
      int[] ids = randomIds(tokenizer, random);
      String whole = tokenizer.decode(ids, skip);
      String what = "seed %d, sequence %d, %s".formatted(seed, n, Arrays.toString(ids));

      var detokenizer = new IncrementalDetokenizer(tokenizer, skip);
      StringBuilder text = new StringBuilder();
      for (int id : ids) {
        String piece = detokenizer.push(id);
        assertWholeCharacters(piece, what);
        text.append(piece);
        // A piece once out is never taken back: half a character would not be in the whole.
        assertThat(whole).as(what).startsWith(text);
      }
      String peeked = detokenizer.peek();
      assertThat(detokenizer.finish()).as(what).isEqualTo(peeked);
      assertThat(text + peeked).as(what).isEqualTo(whole);
      assertThat(detokenizer.finish()).as(what).isEmpty();
    }
  }

  @ParameterizedTest
  @ValueSource(longs = {11, 12, 13, 14, 15})
  void continuesAPrompt(long seed) {
    RandomGenerator random = new SplittableRandom(seed);
    int continued = 0;
    for (int n = 0; n < SEQUENCES; n++) {
      Tokenizer tokenizer = n % 4 == 0 ? byteLevel : byteFallback;
      boolean skip = random.nextBoolean();
      int[] prompt = randomIds(tokenizer, random);
      int[] ids = randomIds(tokenizer, random);
      String promptText = tokenizer.decode(prompt, skip);
      String whole = tokenizer.decode(concat(prompt, ids), skip);
      String what =
          "seed %d, sequence %d, %s then %s"
              .formatted(seed, n, Arrays.toString(prompt), Arrays.toString(ids));

      String text = detokenize(tokenizer, skip, prompt, ids);
      if (whole.startsWith(promptText)) {
        continued++;
        assertThat(promptText + text).as(what).isEqualTo(whole);
      } else { // the prompt ends inside bytes which the continuation changes
        assertThat(whole).as(what).endsWith(text);
        String shared = whole.substring(0, whole.length() - text.length());
        assertThat(promptText).as(what).startsWith(shared);
      }
      assertWholeCharacters(text, what);
    }
    assertThat(continued).isGreaterThan(SEQUENCES / 2);
  }

  @Test
  void showsNoReplacementCharacterWhileTextIsWhole() {
    for (Tokenizer tokenizer : List.of(byteFallback, byteLevel)) {
      for (String text : TEXTS) {
        String clean = text.replace("\uFFFD", "");
        var detokenizer = new IncrementalDetokenizer(tokenizer, true);
        for (int id : tokenizer.encode(clean.replaceAll("</?s>", ""), false)) {
          assertThat(detokenizer.push(id)).doesNotContain("\uFFFD");
        }
        assertThat(detokenizer.finish()).doesNotContain("\uFFFD");
      }
    }
  }

  @Test
  void keepsTheLeadingSpaceAfterAPrompt() {
    int[] prompt = byteFallback.encode("Once upon a", true);
    int[] ids = byteFallback.encode("time", false); // "▁time"
    assertThat(detokenize(byteFallback, true, prompt, ids)).isEqualTo(" time");
    assertThat(detokenize(byteFallback, true, new int[0], ids)).isEqualTo("time");
    assertThat(detokenize(byteFallback, true, new int[] {1, 1}, ids)).isEqualTo("time");
    assertThat(detokenize(byteFallback, false, new int[] {1}, ids)).isEqualTo(" time");
  }

  @Test
  void finishesACharacterThatThePromptBegan() {
    int[] smiley = byteFallback.encode("a🙂", false); // ▁a, ▁ not needed: four bytes at the end
    int cut = smiley.length - 2;
    int[] prompt = Arrays.copyOf(smiley, cut);
    int[] rest = Arrays.copyOfRange(smiley, cut, smiley.length);
    assertThat(detokenize(byteFallback, true, prompt, rest)).isEqualTo("🙂");
  }

  @Test
  void peeksAtANewlineThatIsStillHeld() {
    int newline = 13; // <0x0A>: a byte, so it may yet turn out to be part of invalid UTF-8
    var detokenizer = new IncrementalDetokenizer(byteFallback, true);
    detokenizer.prime(byteFallback.encode("a", true));
    assertThat(detokenizer.push(newline)).isEmpty();
    assertThat(detokenizer.peek()).isEqualTo("\n");
    int he = 291;
    assertThat(detokenizer.push(he)).isEqualTo("\n he");
  }

  /** Whatever the ids, the decoder is fed each of them a few times at most. */
  @Test
  void workPerIdDoesNotGrow() {
    int[][] worst = {
      filled(7), // one byte run for ever
      filled(1), // skipped special tokens only
      filled(300), // words
      IntStream.range(0, 4000).map(i -> i % 2 == 0 ? 230 : 1).toArray(), // both
    };
    for (int[] ids : worst) {
      assertThat(decodedIds(byteFallback, ids)).isLessThan(12L * ids.length);
    }
    int continuationByte = byteLevel.encode("中", false)[1];
    assertThat(decodedIds(byteLevel, filled(continuationByte))).isLessThan(12L * 4000);
  }

  private static long decodedIds(Tokenizer tokenizer, int[] ids) {
    var counting = new CountingTokenizer(tokenizer);
    detokenize(counting, true, new int[0], ids);
    return counting.decodedIds;
  }

  private static int[] filled(int id) {
    int[] ids = new int[4000];
    Arrays.fill(ids, id);
    return ids;
  }

  private static String detokenize(Tokenizer tokenizer, boolean skip, int[] prompt, int[] ids) {
    var detokenizer = new IncrementalDetokenizer(tokenizer, skip);
    detokenizer.prime(prompt);
    StringBuilder text = new StringBuilder();
    for (int id : ids) {
      text.append(detokenizer.push(id));
    }
    return text.append(detokenizer.finish()).toString();
  }

  private static void assertWholeCharacters(String text, String what) {
    assertThat(text.codePoints().noneMatch(c -> c >= 0xD800 && c <= 0xDFFF)).as(what).isTrue();
  }

  private static int[] concat(int[] a, int[] b) {
    int[] both = Arrays.copyOf(a, a.length + b.length);
    System.arraycopy(b, 0, both, a.length, b.length);
    return both;
  }

  /** A vocabulary of the GPT-2 kind: 256 bytes under printable names, and one special token. */
  private static DjlTokenizer byteLevelTokenizer(Path directory) throws IOException {
    StringBuilder vocab = new StringBuilder();
    int unprintable = 256;
    for (int b = 0; b < 256; b++) {
      boolean printable = (b > 32 && b < 127) || (b > 160 && b != 173);
      String name = Character.toString(printable ? b : unprintable++);
      String quoted = name.equals("\"") || name.equals("\\") ? "\\" + name : name;
      vocab.append("\"%s\": %d,".formatted(quoted, b));
    }
    Files.writeString(
        directory.resolve("tokenizer.json"),
        """
        {"version": "1.0", "truncation": null, "padding": null, "normalizer": null,
         "added_tokens": [{"id": 256, "content": "<end>", "special": true, "single_word": false,
           "lstrip": false, "rstrip": false, "normalized": false}],
         "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true,
           "use_regex": true},
         "post_processor": null,
         "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true,
           "use_regex": true},
         "model": {"type": "BPE", "vocab": {%s "<end>": 256}, "merges": []}}
        """
            .formatted(vocab));
    return DjlTokenizer.open(directory, 10_000).orElseThrow();
  }

  private static final class CountingTokenizer implements Tokenizer {
    private final Tokenizer counted;
    private long decodedIds;

    CountingTokenizer(Tokenizer counted) {
      this.counted = counted;
    }

    @Override
    public int[] encode(String text, boolean addSpecialTokens) {
      return counted.encode(text, addSpecialTokens);
    }

    @Override
    public String decode(int[] ids, boolean skipSpecialTokens) {
      decodedIds += ids.length;
      return counted.decode(ids, skipSpecialTokens);
    }

    @Override
    public String token(int id) {
      return counted.token(id);
    }

    @Override
    public int vocabSize() {
      return counted.vocabSize();
    }

    @Override
    public OptionalInt bosTokenId() {
      return counted.bosTokenId();
    }

    @Override
    public OptionalInt eosTokenId() {
      return counted.eosTokenId();
    }
  }
}
