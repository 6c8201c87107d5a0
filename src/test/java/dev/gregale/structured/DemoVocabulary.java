package dev.gregale.structured;

import dev.gregale.tokenizer.DjlTokenizer;
import dev.gregale.tokenizer.IncrementalDetokenizer;
import dev.gregale.tokenizer.TokenDecoder;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** The demo model's tokenizer, as constraints see it. */
final class DemoVocabulary {
  static final int EOS = 2;

  /** The token of byte 0; those of the others follow. */
  static final int FIRST_BYTE = 3;

  static final DjlTokenizer TOKENIZER =
      DjlTokenizer.open(Path.of("src/main/resources/models/fairytale-moe-7m"), 10_000_000)
          .orElseThrow();
  static final List<byte @Nullable []> BYTES = bytes();
  static final StructuredOutputs OUTPUTS =
      new StructuredOutputs(TOKENIZER, TOKENIZER.vocabSize(), new int[] {EOS});

  /** Tokens by their first byte. */
  static final List<List<Integer>> BY_FIRST_BYTE = byFirstByte();

  private DemoVocabulary() {}

  private static List<List<Integer>> byFirstByte() {
    List<List<Integer>> tokens = new ArrayList<>();
    for (int b = 0; b < 256; b++) {
      tokens.add(new ArrayList<>());
    }
    for (int id = 0; id < BYTES.size(); id++) {
      byte[] bytes = BYTES.get(id);
      if (bytes != null) {
        tokens.get(bytes[0] & 0xFF).add(id);
      }
    }
    return tokens;
  }

  private static List<byte @Nullable []> bytes() {
    TokenDecoder decoder = new TokenDecoder(TOKENIZER);
    List<byte @Nullable []> bytes = new ArrayList<>();
    for (int id = 0; id < TOKENIZER.vocabSize(); id++) {
      bytes.add(decoder.bytes(id));
    }
    return bytes;
  }

  /** The text of output tokens as the engine makes it, behind a prompt with some text. */
  static String text(List<Integer> tokens) {
    IncrementalDetokenizer detokenizer = new IncrementalDetokenizer(TOKENIZER, true);
    detokenizer.prime(TOKENIZER.encode("Answer:", true));
    StringBuilder text = new StringBuilder();
    tokens.forEach(token -> text.append(detokenizer.push(token)));
    return text.append(detokenizer.finish()).toString();
  }
}
