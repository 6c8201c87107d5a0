package dev.gregale.scheduler;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.gregale.sampling.SamplingParams;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Random;
import java.util.Set;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Blocks and their contents, against plain lists and maps that do the same. */
class BlockManagerTest {
  private static final int BLOCKS = 12;
  private static final int BLOCK_SIZE = 2;

  private static Sequence sequence(@Nullable String salt, int... tokens) {
    SamplingParams params = SamplingParams.builder().maxTokens(1).build();
    return new Sequence(tokens, params, 0, new int[0], 100, salt);
  }

  @Test
  void blocksAreHandedOutOnceAndFreedOnce() {
    BlockManager blocks = new BlockManager(2, new PrefixIndex(2, 4));
    int a = blocks.allocate();
    assertThat(blocks.allocate()).isNotEqualTo(a);
    assertThatThrownBy(blocks::allocate).isInstanceOf(IllegalStateException.class);
    assertThatThrownBy(() -> blocks.share(a)).hasMessageContaining("nothing to be shared");
    blocks.free(a);
    assertThat(blocks.refCount(a)).isZero();
    assertThatThrownBy(() -> blocks.free(a)).hasMessageContaining("already free");
    assertThat(blocks.numFree()).isEqualTo(1);
  }

  /** What a block holds. */
  private record Content(long parent, @Nullable String salt, List<Integer> tokens) {}

  /** With secret 0, all hashes are the same: only contents tell blocks apart. */
  @ParameterizedTest(name = "seed {0}, secret {1}")
  @CsvSource({"1, 0", "2, 0", "3, 0", "4, 77777", "5, 77777", "6, -12345"})
  void isTheNaiveThing(long seed, long secret) {
    Random random = new Random(seed);
    PrefixIndex index = new PrefixIndex(BLOCKS, BLOCK_SIZE, secret);
    BlockManager blocks = new BlockManager(BLOCKS, index);
    List<Integer> owned = new ArrayList<>(); // one entry per reference
    List<Integer> empty = new ArrayList<>(); // free, the next one last
    Set<Integer> kept = new LinkedHashSet<>(); // free, longest free first
    Map<Content, Integer> contents = new HashMap<>();
    List<Long> parents = new ArrayList<>(List.of(PrefixIndex.ROOT));
    Set<Long> ids = new LinkedHashSet<>();
    for (int block = BLOCKS - 1; block >= 0; block--) {
      empty.add(block);
    }
    int found = 0;
    int evicted = 0;
    for (int i = 0; i < 20_000; i++) {
      switch (random.nextInt(4)) {
        case 0 -> {
          if (!empty.isEmpty() || !kept.isEmpty()) {
            int expected = empty.isEmpty() ? kept.iterator().next() : empty.removeLast();
            evicted += kept.remove(expected) ? 1 : 0;
            contents.values().remove(expected);
            assertThat(blocks.allocate()).isEqualTo(expected);
            owned.add(expected);
          }
        }
        case 1 -> {
          if (!owned.isEmpty()) {
            int block = owned.remove(random.nextInt(owned.size()));
            blocks.free(block);
            if (!owned.contains(block)) {
              if (contents.containsValue(block)) {
                kept.add(block);
              } else {
                empty.add(block);
              }
            }
          }
        }
        default -> {
          int[] tokens = random.ints(4, 0, 3).toArray();
          @Nullable String salt = random.nextBoolean() ? null : "salt " + random.nextInt(2);
          long parent = parents.get(random.nextInt(parents.size()));
          Content content =
              new Content(
                  parent, parent == PrefixIndex.ROOT ? salt : null, List.of(tokens[1], tokens[2]));
          Sequence sequence = sequence(salt, tokens);
          int block = index.find(parent, sequence, 1);
          assertThat(block)
              .as("seed %d, operation %d, %s", seed, i, content)
              .isEqualTo(contents.getOrDefault(content, PrefixIndex.NONE));
          if (block != PrefixIndex.NONE) {
            blocks.share(block);
            kept.remove(block);
            owned.add(block);
            found++;
          } else if (!owned.isEmpty()) {
            int filled = owned.getLast();
            if (!contents.containsValue(filled)) {
              index.put(filled, parent, sequence, 1);
              contents.put(content, filled);
              assertThat(ids.add(index.content(filled))).as("id given twice").isTrue();
              parents.add(index.content(filled));
              if (parents.size() > 6) {
                parents.remove(1 + random.nextInt(5));
              }
            }
          }
        }
      }
      if (random.nextInt(2_000) == 0) {
        index.clear();
        contents.clear();
        kept.clear();
        // From here on the order of what was kept is unspecified: hand all of it out.
        while (blocks.numFree() > 0) {
          owned.add(blocks.allocate());
        }
        empty.clear();
      }
      assertThat(blocks.numFree()).isEqualTo(empty.size() + kept.size());
      for (int block = 0; block < BLOCKS; block++) {
        int b = block;
        assertThat(blocks.refCount(b))
            .isEqualTo((int) owned.stream().filter(o -> Objects.equals(o, b)).count());
        assertThat(blocks.isShareable(b)).isEqualTo(contents.containsValue(b));
      }
    }
    assertThat(found).isGreaterThan(500);
    assertThat(evicted).isGreaterThan(200);
  }

  @Test
  void allPlacesOfAPromptAndItsOutputAreCompared() {
    Sequence sequence = sequence(null, 1, 2, 3);
    sequence.addPlaceholder(0);
    sequence.append(4);
    sequence.addPlaceholder(0);
    sequence.append(5);
    int[] same = {9, 1, 2, 3, 4, 5};
    for (int from = 0; from <= 5; from++) {
      for (int length = 0; from + length <= 5; length++) {
        assertThat(sequence.hasTokens(from, same, from + 1, length)).isTrue();
        for (int i = 0; i < length; i++) {
          int[] other = Arrays.copyOf(same, same.length);
          other[from + 1 + i]++;
          assertThat(sequence.hasTokens(from, other, from + 1, length)).isFalse();
        }
      }
    }
  }
}
