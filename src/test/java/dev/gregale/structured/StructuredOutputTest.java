package dev.gregale.structured;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gregale.sampling.TokenConstraint;
import dev.gregale.sampling.TokenMatcher;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.BitSet;
import java.util.List;
import java.util.Random;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import tools.jackson.databind.JsonNode;

/** Random schemas: what masks allow is valid, and what is valid they allow. */
class StructuredOutputTest {
  private static final int SCHEMAS = 120;
  private static final int WALKS = 20;
  private static final int DOCUMENTS = 6;
  private static final int VOCAB = DemoVocabulary.BYTES.size();

  /** After so many tokens a walk makes for the end. */
  private static final int WANDER = 60;

  private static final int MOST_TOKENS = 4000;

  /** What ends a text soonest. */
  private static final String WAY_OUT = "}]\"n0tfulrase:1,[{";

  @Test
  void whatMasksAllowIsValid() {
    for (int seed = 0; seed < SCHEMAS; seed++) {
      Random random = new Random(seed);
      JsonNode schema = new RandomSchemas(random).next();
      JsonCheck check = new JsonCheck(schema.toString());
      TokenConstraint constraint = DemoVocabulary.OUTPUTS.jsonSchema(schema);
      for (int walk = 0; walk < WALKS; walk++) {
        String text = DemoVocabulary.text(walk(constraint.newMatcher(), random));
        assertEquals(
            List.of(), check.violations(text), "seed " + seed + " " + schema + "\n" + text);
      }
    }
  }

  @Test
  void whatIsValidMasksAllow() {
    for (int seed = 0; seed < SCHEMAS; seed++) {
      Random random = new Random(seed);
      JsonNode schema = new RandomSchemas(random).next();
      TokenConstraint constraint = DemoVocabulary.OUTPUTS.jsonSchema(schema);
      JsonCheck check = new JsonCheck(schema.toString());
      RandomDocuments documents = new RandomDocuments(random, schema);
      for (int i = 0; i < DOCUMENTS; i++) {
        String document = documents.next();
        String told = "seed " + seed + " " + schema + "\n" + document;
        assertEquals(List.of(), check.violations(document), told);
        assertAllowed(constraint, DemoVocabulary.TOKENIZER.encode(document, false), told);
        assertAllowed(constraint, randomTokens(document, random), told);
      }
    }
  }

  /** A mask is what trying each token alone would give. */
  @Test
  void masksAreThoseOfSingleTokens() {
    for (int seed = 0; seed < 25; seed++) {
      Random random = new Random(seed);
      JsonNode schema = new RandomSchemas(random).next();
      TokenConstraint constraint = DemoVocabulary.OUTPUTS.jsonSchema(schema);
      List<Integer> tokens = walk(constraint.newMatcher(), random);
      int length = random.nextInt(tokens.size());
      BitSet expected = new BitSet();
      for (int token = 0; token < VOCAB; token++) {
        TokenMatcher matcher = behind(constraint, tokens.subList(0, length));
        if (DemoVocabulary.BYTES.get(token) != null && accepts(matcher, token)) {
          expected.set(token);
        }
      }
      TokenMatcher matcher = behind(constraint, tokens.subList(0, length));
      BitSet allowed = mask(matcher);
      allowed.clear(DemoVocabulary.EOS);
      assertEquals(expected, allowed, "seed " + seed + " " + schema);
      assertTrue(
          IntStream.range(0, VOCAB).allMatch(t -> matcher.allows(t) == mask(matcher).get(t)));
    }
  }

  private static TokenMatcher behind(TokenConstraint constraint, List<Integer> tokens) {
    TokenMatcher matcher = constraint.newMatcher();
    tokens.forEach(matcher::accept);
    return matcher;
  }

  private static boolean accepts(TokenMatcher matcher, int token) {
    try {
      matcher.accept(token);
      return true;
    } catch (IllegalArgumentException e) {
      return false;
    }
  }

  /** Draws allowed tokens until the text is over. */
  static List<Integer> walk(TokenMatcher matcher, Random random) {
    List<Integer> tokens = new ArrayList<>();
    while (tokens.size() < MOST_TOKENS) {
      BitSet allowed = mask(matcher);
      assertFalse(allowed.isEmpty(), () -> "no way on from " + DemoVocabulary.text(tokens));
      boolean home = tokens.size() > WANDER;
      int token = home ? wayOut(allowed) : draw(allowed, random);
      if (token == DemoVocabulary.EOS) {
        return tokens;
      }
      tokens.add(token);
      matcher.accept(token);
    }
    throw new AssertionError("no end: " + DemoVocabulary.text(tokens));
  }

  private static int draw(BitSet allowed, Random random) {
    if (random.nextInt(4) == 0) { // else texts would hardly leave their first string
      return wayOut(allowed);
    }
    int[] tokens = allowed.stream().toArray();
    return tokens[random.nextInt(tokens.length)];
  }

  private static int wayOut(BitSet allowed) {
    if (allowed.get(DemoVocabulary.EOS)) {
      return DemoVocabulary.EOS;
    }
    boolean inText = allowed.get(DemoVocabulary.FIRST_BYTE + '#');
    for (byte wanted : (inText ? "\"" + WAY_OUT : WAY_OUT).getBytes(StandardCharsets.US_ASCII)) {
      int token = DemoVocabulary.FIRST_BYTE + wanted;
      if (allowed.get(token)) {
        return token;
      }
    }
    return allowed.nextSetBit(0);
  }

  private static BitSet mask(TokenMatcher matcher) {
    int[] words = new int[VOCAB / 32 + 3];
    matcher.writeMask(words, 1);
    BitSet mask = new BitSet();
    for (int token = 0; token < VOCAB; token++) {
      mask.set(token, (words[1 + token / 32] >> token % 32 & 1) != 0);
    }
    assertEquals(0, words[0]);
    assertEquals(0, words[VOCAB / 32 + 1] + words[VOCAB / 32 + 2]);
    return mask;
  }

  private static void assertAllowed(TokenConstraint constraint, int[] tokens, String told) {
    TokenMatcher matcher = constraint.newMatcher();
    for (int i = 0; i < tokens.length; i++) {
      int at = i;
      assertTrue(
          matcher.allows(tokens[i]),
          () ->
              told
                  + "\nnot allowed: "
                  + DemoVocabulary.TOKENIZER.token(tokens[at])
                  + " behind "
                  + DemoVocabulary.text(IntStream.range(0, at).mapToObj(t -> tokens[t]).toList()));
      matcher.accept(tokens[i]);
    }
    assertTrue(matcher.allows(DemoVocabulary.EOS), told);
  }

  /** Another way of cutting a text into tokens. */
  private static int[] randomTokens(String text, Random random) {
    byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
    List<Integer> tokens = new ArrayList<>();
    for (int at = 0; at < bytes.length; ) {
      int from = at;
      List<Integer> fitting =
          DemoVocabulary.BY_FIRST_BYTE.get(bytes[at] & 0xFF).stream()
              .filter(token -> isAt(bytes, from, DemoVocabulary.BYTES.get(token)))
              .toList();
      int token = fitting.get(random.nextInt(fitting.size()));
      tokens.add(token);
      at += DemoVocabulary.BYTES.get(token).length;
    }
    return tokens.stream().mapToInt(Integer::intValue).toArray();
  }

  private static boolean isAt(byte[] text, int from, byte[] token) {
    return token != null
        && from + token.length <= text.length
        && Arrays.equals(text, from, from + token.length, token, 0, token.length);
  }
}
