package dev.gregale.scheduler;

import static java.util.Objects.requireNonNull;
import static org.assertj.core.api.Assertions.assertThat;

import java.util.ArrayList;
import java.util.BitSet;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/** What must hold of a scheduler and its batches after every call. */
final class ScheduleChecks {
  private final SchedulerConfig config;
  private final Scheduler scheduler;
  private final Map<Sequence, ExpectedSequence> live;
  int sharedBlocks;
  int hitsAfterPreemption;
  int overtaken;

  /**
   * @param live the sequences that have not ended
   */
  ScheduleChecks(
      SchedulerConfig config, Scheduler scheduler, Map<Sequence, ExpectedSequence> live) {
    this.config = config;
    this.scheduler = scheduler;
    this.live = live;
  }

  /** Nobody who waits goes before those that were let in; nobody who runs goes after the others. */
  void checkOrder(List<Sequence> ran) {
    for (Sequence in : live.keySet()) {
      for (Sequence out : live.keySet()) {
        boolean changed = ran.contains(in) ? ran.contains(out) : !ran.contains(out);
        if (changed
            && in.status() == Sequence.Status.RUNNING
            && out.status() == Sequence.Status.WAITING) {
          assertThat(in.priority()).isLessThanOrEqualTo(out.priority());
          if (in.priority() == out.priority()) {
            assertThat(in.arrival()).isLessThan(out.arrival());
          } else if (in.arrival() > out.arrival()) {
            overtaken++;
          }
        }
      }
    }
  }

  void checkBatch(ScheduledBatch batch, @Nullable ScheduledBatch running) {
    assertThat(batch.numTokens).isLessThanOrEqualTo(config.maxNumBatchedTokens());
    assertThat(batch.numLogitRows).isLessThanOrEqualTo(config.maxLogitRows());
    assertThat(batch.numSeqs()).isLessThanOrEqualTo(scheduler.numRunning());
    assertThat(scheduler.numRunning()).isLessThanOrEqualTo(config.maxNumSeqs());
    BitSet slots = new BitSet();
    int drawn = 0;
    for (int s = 0; s < batch.numSeqs(); s++) {
      Sequence sequence = batch.sequences.get(s);
      int first = batch.cuSeqLens[s];
      int length = batch.cuSeqLens[s + 1] - first;
      assertThat(length).isPositive();
      assertThat(batch.contextLens[s]).isEqualTo(sequence.numComputedTokens());
      for (int i = 0; i < length; i++) {
        int position = sequence.numComputedTokens() - length + i;
        int slot = batch.slotMapping[first + i];
        assertThat(batch.positions[first + i]).isEqualTo(position);
        if (position < sequence.numTokens()) {
          assertThat(batch.tokenSources[first + i]).isEqualTo(ScheduledBatch.FROM_HOST);
          assertThat(batch.tokenIds[first + i]).isEqualTo(sequence.token(position));
        } else {
          checkSource(batch.tokenSources[first + i], sequence, requireNonNull(running));
        }
        assertThat(slots.get(slot)).as("slot %d used twice", slot).isFalse();
        assertThat(slot / config.blockSize())
            .isEqualTo(sequence.blockTable().get(position / config.blockSize()));
        slots.set(slot);
        int block = slot / config.blockSize();
        assertThat(scheduler.blocks().refCount(block)).as("written while shared").isEqualTo(1);
        assertThat(scheduler.blocks().isShareable(block)).as("written when known").isFalse();
      }
      boolean complete = batch.contextLens[s] >= sequence.numTokens();
      drawn += complete && sequence.params().maxTokens() > 0 ? 1 : 0;
    }
    int draws = 0;
    for (int r = 0; r < batch.numLogitRows; r++) {
      draws += batch.draws(r) ? 1 : 0;
    }
    assertThat(draws).isEqualTo(drawn);
  }

  /** A token that is not known is what the running step draws for that sequence. */
  private static void checkSource(int row, Sequence sequence, ScheduledBatch before) {
    assertThat(before.draws(row)).isTrue();
    assertThat(before.sequences.get(before.logitSequence[row])).isSameAs(sequence);
    assertThat(sequence.params().needsHistory()).isFalse();
  }

  void checkBlocks() {
    int[] owners = new int[config.numBlocks()];
    Map<Integer, List<Object>> contents = new HashMap<>();
    for (Sequence sequence : live.keySet()) {
      int size = sequence.blockTable().size();
      if (sequence.status() != Sequence.Status.RUNNING) {
        assertThat(size).isZero();
      }
      for (int i = 0; i < size; i++) {
        int block = sequence.blockTable().get(i);
        if (owners[block]++ == 0) {
          contents.put(block, content(sequence, i));
        } else { // they share it: same place, same tokens before and in it, same salt
          assertThat(content(sequence, i)).isEqualTo(contents.get(block));
          sharedBlocks++;
        }
      }
      ExpectedSequence e = requireNonNull(live.get(sequence));
      if (size > 0 && e.blocks == 0 && e.preempted) {
        hitsAfterPreemption += sequence.blockTable().numContents() > 0 ? 1 : 0;
      }
      e.blocks = size;
      e.preempted |= sequence.numComputedTokens() < e.computedAtMost;
      e.computedAtMost = Math.max(e.computedAtMost, sequence.numComputedTokens());
    }
    for (int block = 0; block < owners.length; block++) {
      assertThat(scheduler.blocks().refCount(block)).isEqualTo(owners[block]);
    }
    assertThat(contents.size() + scheduler.numFreeBlocks()).isEqualTo(config.numBlocks());
  }

  /** All that the content of a sequence's i-th block depends on, if the block is full. */
  private List<Object> content(Sequence sequence, int i) {
    List<Object> content = new ArrayList<>();
    content.add(String.valueOf(requireNonNull(live.get(sequence)).salt));
    int end = (i + 1) * config.blockSize();
    for (int t = 0; t < Math.min(end, sequence.numTokens()); t++) {
      content.add(sequence.token(t));
    }
    content.add(end <= sequence.numComputedTokens() ? "computed" : sequence);
    return content;
  }
}
