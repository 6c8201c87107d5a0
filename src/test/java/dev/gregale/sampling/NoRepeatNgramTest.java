package dev.gregale.sampling;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.Arrays;
import java.util.Set;
import java.util.SplittableRandom;
import java.util.TreeSet;
import org.junit.jupiter.api.Test;

class NoRepeatNgramTest {

  @Test
  void bansWhatFollowedTheSameTokensBefore() {
    assertEquals(Set.of(3, 5), banned(2, 1, 2, 3, 2, 5, 2));
    assertEquals(Set.of(3), banned(3, 1, 2, 3, 7, 2, 5, 1, 2));
    assertEquals(Set.of(1, 2), banned(1, 1, 2, 1));
    assertEquals(Set.of(), banned(0, 1, 1, 1));
    assertEquals(Set.of(), banned(4, 1, 1));
  }

  /** Drawing only what is allowed never repeats an n-gram. */
  @Test
  void sequencesHaveNoRepeatedNgram() {
    SplittableRandom random = new SplittableRandom(5);
    for (int n = 1; n <= 3; n++) {
      int[] tokens = new int[60];
      int length = 0;
      Set<String> seen = new TreeSet<>();
      while (length < tokens.length) {
        Set<Integer> banned = banned(n, Arrays.copyOf(tokens, length));
        int token = random.nextInt(80);
        if (banned.contains(token)) {
          continue;
        }
        tokens[length++] = token;
        if (length >= n) {
          String ngram = Arrays.toString(Arrays.copyOfRange(tokens, length - n, length));
          assertEquals(true, seen.add(ngram), ngram + " recurs");
        }
      }
    }
  }

  private static Set<Integer> banned(int n, int... tokens) {
    Set<Integer> banned = new TreeSet<>();
    NoRepeatNgram.forEachBanned(i -> tokens[i], tokens.length, n, banned::add);
    return banned;
  }
}
