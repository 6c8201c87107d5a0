package dev.gregale.sampling;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Test;

class StopStringMatcherTest {

  @Test
  void holdsBackWhatCouldBeTheBeginning() {
    StopStringMatcher matcher = new StopStringMatcher(List.of("STOP"), false);
    assertThat(matcher.append("abST")).isEqualTo("ab");
    assertThat(matcher.append("O")).isEmpty();
    assertThat(matcher.append("RE")).isEqualTo("STORE");
    assertThat(matcher.append(" S")).isEqualTo(" ");
    assertThat(matcher.finish()).isEqualTo("S");
    assertThat(matcher.matched()).isFalse();
  }

  @Test
  void matchesAcrossPieces() {
    StopStringMatcher matcher = new StopStringMatcher(List.of("\n\n", "END"), false);
    assertThat(matcher.append("one\n")).isEqualTo("one");
    assertThat(matcher.append("\ntwo")).isEmpty();
    assertThat(matcher.matched()).isTrue();
    assertThat(matcher.append("three")).isEmpty();
    assertThat(matcher.finish()).isEmpty();
  }

  @Test
  void keepsTheMatchWhereAsked() {
    StopStringMatcher matcher = new StopStringMatcher(List.of("END"), true);
    assertThat(matcher.append("xEN")).isEqualTo("x");
    assertThat(matcher.append("Dy")).isEqualTo("END");
    assertThat(matcher.matched()).isTrue();
  }

  @Test
  void overlappingBeginningsAreNotLost() {
    StopStringMatcher matcher = new StopStringMatcher(List.of("aab"), false);
    assertThat(matcher.append("aa") + matcher.append("a") + matcher.append("b")).isEqualTo("a");
    assertThat(matcher.matched()).isTrue();
  }

  @Test
  void uncertainTextCountsOnlyIfItStops() {
    StopStringMatcher matcher = new StopStringMatcher(List.of("\n"), false);
    assertThat(matcher.append("one")).isEqualTo("one");
    assertThat(matcher.appendIfItStops("two")).isEmpty();
    assertThat(matcher.append(" ")).isEqualTo(" ");
    assertThat(matcher.matched()).isFalse();
    assertThat(matcher.appendIfItStops("two\nthree")).isEqualTo("two");
    assertThat(matcher.matched()).isTrue();
    assertThat(matcher.append("four") + matcher.finish()).isEmpty();
  }

  @Test
  void refusesAnEmptyString() {
    assertThatThrownBy(() -> new StopStringMatcher(List.of(""), false))
        .isInstanceOf(IllegalArgumentException.class);
  }

  /** Against a plain search over the whole text, whatever the pieces. */
  @Test
  void theResultDoesNotDependOnThePieces() {
    for (long seed = 0; seed < 20_000; seed++) {
      Random random = new Random(seed);
      List<String> stop = new ArrayList<>();
      for (int i = random.nextInt(4); i >= 0; i--) {
        stop.add(letters(random, 1 + random.nextInt(5)));
      }
      String text = letters(random, random.nextInt(30));
      boolean include = random.nextBoolean();

      StopStringMatcher matcher = new StopStringMatcher(stop, include);
      StringBuilder shown = new StringBuilder();
      for (int at = 0; at < text.length(); ) {
        int end = Math.min(text.length(), at + random.nextInt(6));
        shown.append(matcher.append(text.substring(at, end)));
        at = end;
      }
      shown.append(matcher.finish());
      assertThat(shown.toString()).as("seed %d", seed).isEqualTo(expected(text, stop, include));
      assertThat(matcher.matched())
          .as("seed %d", seed)
          .isEqualTo(stop.stream().anyMatch(text::contains));
    }
  }

  private static String letters(Random random, int length) {
    StringBuilder s = new StringBuilder();
    for (int i = 0; i < length; i++) {
      s.append((char) ('a' + random.nextInt(3)));
    }
    return s.toString();
  }

  /** Letter by letter: the first place where the text so far ends in a stop string, the longest. */
  private static String expected(String text, List<String> stop, boolean include) {
    for (int end = 1; end <= text.length(); end++) {
      String soFar = text.substring(0, end);
      int length = stop.stream().filter(soFar::endsWith).mapToInt(String::length).max().orElse(0);
      if (length > 0) {
        return include ? soFar : soFar.substring(0, end - length);
      }
    }
    return text;
  }
}
