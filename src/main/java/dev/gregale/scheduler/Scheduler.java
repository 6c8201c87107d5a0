package dev.gregale.scheduler;

import dev.gregale.sampling.FinishReason;
import dev.gregale.sampling.SamplingParams;
import java.util.ArrayList;
import java.util.List;
import java.util.NavigableSet;
import java.util.TreeSet;

/**
 * Decides what each step computes, by one rule: every sequence's {@code numComputedTokens} catches
 * up with its {@code numTokens} under a token budget. So there are no phases; a step may hold
 * sequences that need one token (decodes, which go first) and chunks of prompts.
 *
 * <p>The lowest priority goes first; where it is the same, first come, first served. The running
 * list and the waiting queue are both in this order, and within the queue nobody overtakes. A
 * sequence is admitted once blocks for all its known tokens are free, so only decodes can run out
 * of them. Then the last of the running sequences gives its blocks up and goes back into the queue,
 * to be computed anew. The first is never preempted and gains at least one token in every step;
 * hence each sequence ends, unless others that go first never cease to come.
 *
 * <p>A sequence does not compute leading blocks that the cache has ({@link PrefixCache}), but
 * always its last known token. Others find a block once {@link #update} has taken over the step
 * that filled it: by then its tokens are known, and a step that fails leaves nothing to be found.
 * Only full blocks are shared, and those are not written any more.
 *
 * <p>A step may be scheduled while the one before it still runs, before {@link #update} has taken
 * that one over. A token that it draws is then a placeholder: counted, but known to the device
 * only. What a sequence's length decides is known all the same; a stop token is found one step
 * late, and what that step drew for the sequence is dropped. Blocks are free as soon as a sequence
 * ends: steps run in order, so whoever gets them next writes after the last step that used them.
 * For one thread.
 */
public final class Scheduler {
  private static final int NO_SLOT = -1;

  private final SchedulerConfig config;
  private final BlockManager blocks;
  private final PrefixCache prefixes;
  private final BatchWriter writer;
  private final NavigableSet<Sequence> waiting = new TreeSet<>(Sequence.ORDER);
  private final List<Sequence> running = new ArrayList<>();
  private long numArrivals;
  private long numPreemptions;

  public Scheduler(SchedulerConfig config) {
    this.config = config;
    PrefixIndex index = new PrefixIndex(config.numBlocks(), config.blockSize());
    blocks = new BlockManager(config.numBlocks(), index);
    prefixes = new PrefixCache(config, index, blocks);
    writer = new BatchWriter(config.blockSize());
  }

  /** Queues a sequence of no special priority, as {@link #add(Sequence, int)} does. */
  public void add(Sequence sequence) {
    add(sequence, 0);
  }

  /**
   * Queues a sequence.
   *
   * @param priority the lower, the sooner it runs
   * @throws IllegalStateException if the queue is full
   */
  public void add(Sequence sequence, int priority) {
    if (sequence.numPromptTokens() > config.maxModelLen()) {
      throw new IllegalArgumentException(
          "the prompt has %d tokens, more than max-model-len (%d)"
              .formatted(sequence.numPromptTokens(), config.maxModelLen()));
    }
    if (waiting.size() >= config.maxWaitingSeqs()) {
      throw new IllegalStateException(
          "%d sequences are waiting, which is the limit".formatted(waiting.size()));
    }
    sequence.queue(priority, numArrivals++);
    waiting.add(sequence);
  }

  /**
   * Fills the batch with the next step's work; leaves it empty only if there is none, or none that
   * can be told before the step that runs is over. All but the last scheduled step must have been
   * taken over, and that one too if it {@link ScheduledBatch#needsHistory}.
   */
  public void schedule(ScheduledBatch batch) {
    batch.clear();
    long preemptionsBefore = numPreemptions;
    for (int i = 0; i < running.size(); i++) { // shrinks at its end when preempting
      Sequence sequence = running.get(i);
      if (sequence.numPendingTokens() == 1 && growForDecode(sequence)) {
        writer.append(batch, sequence, 1);
      }
    }
    for (int i = 0; i < running.size(); i++) {
      Sequence sequence = running.get(i);
      int length =
          sequence.numPendingTokens() > 1
              ? chunkLength(sequence, sequence.numComputedTokens(), batch)
              : 0;
      if (length > 0) {
        writer.append(batch, sequence, length);
      }
    }
    // Whoever was just preempted must not come straight back, as it could where it shares blocks:
    // the step that still runs with it would be taken for one that has filled its new blocks.
    if (numPreemptions == preemptionsBefore) {
      admit(batch);
    }
  }

  private void admit(ScheduledBatch batch) {
    while (!waiting.isEmpty()
        && running.size() < config.maxNumSeqs()
        && batch.numTokens < config.maxNumBatchedTokens()
        && blocks.numFree() > 0) {
      Sequence sequence = waiting.first();
      if (sequence.numPlaceholders() > 0) {
        return;
      }
      int cached = prefixes.match(sequence);
      int numBlocks = config.blocksFor(sequence.numTokens());
      int length = chunkLength(sequence, cached, batch);
      if (numBlocks - prefixes.numMatchedInUse() > blocks.numFree() || length <= 0) {
        return;
      }
      waiting.pollFirst();
      prefixes.take(sequence);
      while (sequence.blockTable().size() < numBlocks) {
        sequence.blockTable().add(blocks.allocate());
      }
      sequence.admit(cached);
      insert(sequence);
      writer.append(batch, sequence, length);
    }
  }

  /** Puts a sequence among those that run: behind all of them unless it has priority. */
  private void insert(Sequence sequence) {
    int place = running.size();
    while (place > 0 && Sequence.ORDER.compare(running.get(place - 1), sequence) > 0) {
      place--;
    }
    running.add(place, sequence);
  }

  /**
   * Fills the batch with one token of nobody's that leaves the cache as it is: to find out, after a
   * failure, whether the model still works.
   */
  public void scheduleProbe(ScheduledBatch batch) {
    batch.clear();
    SamplingParams greedy = SamplingParams.builder().temperature(0).maxTokens(1).build();
    Sequence probe = new Sequence(new int[] {0}, greedy, 0, new int[0], 2, null);
    probe.blockTable().add(0);
    writer.append(batch, probe, 1);
    batch.slotMapping[0] = NO_SLOT;
  }

  /**
   * How many of a sequence's tokens from {@code start} on still fit the step, its rows of logits
   * included.
   */
  private int chunkLength(Sequence sequence, int start, ScheduledBatch batch) {
    int end =
        Math.min(sequence.numTokens(), start + config.maxNumBatchedTokens() - batch.numTokens);
    int rowsLeft = config.maxLogitRows() - batch.numLogitRows;
    int firstScored = Math.max(start, sequence.firstUnscored());
    int scoredRows = Math.max(0, Math.min(end, sequence.numPromptTokens() - 1) - firstScored);
    if (scoredRows > rowsLeft) {
      end = firstScored + rowsLeft;
    } else if (end == sequence.numTokens() && sequence.drawsTokens() && scoredRows == rowsLeft) {
      end--; // no row left for the token to be drawn
    }
    return end - start;
  }

  /** Gets the block that a sequence's newest token may need; false if it was preempted itself. */
  private boolean growForDecode(Sequence sequence) {
    if (sequence.blockTable().size() >= config.blocksFor(sequence.length())) {
      return true;
    }
    while (blocks.numFree() == 0) {
      Sequence last = running.removeLast();
      release(last);
      last.preempt();
      waiting.add(last);
      numPreemptions++;
      if (last == sequence) {
        return false;
      }
    }
    sequence.blockTable().add(blocks.allocate());
    return true;
  }

  /**
   * Takes a computed step over: appends the drawn tokens and ends the sequences that are done,
   * which {@link Sequence#status} and {@link Sequence#finishReason} tell. Sequences that ended
   * since {@link #schedule} are left alone; those preempted since get their token.
   *
   * @param sampledTokens {@code [R]}, one for each row of logits
   */
  public void update(ScheduledBatch batch, int[] sampledTokens) {
    for (int s = 0; s < batch.numSeqs(); s++) {
      Sequence sequence = batch.sequences.get(s);
      if (sequence.status() == Sequence.Status.RUNNING) { // never out of its blocks since
        prefixes.store(sequence, batch.contextLens[s]);
      }
      if (sequence.status() != Sequence.Status.FINISHED
          && !sequence.drawsTokens()
          && batch.contextLens[s] == sequence.numTokens()) {
        finish(sequence, FinishReason.LENGTH);
      }
    }
    for (int r = 0; r < batch.numLogitRows; r++) {
      Sequence sequence = batch.sequences.get(batch.logitSequence[r]);
      if (batch.draws(r) && sequence.status() != Sequence.Status.FINISHED) {
        append(sequence, sampledTokens[r]);
      }
    }
  }

  private void append(Sequence sequence, int token) {
    sequence.append(token);
    FinishReason reason =
        sequence.stopCriteria().check(token, sequence.numOutputTokens(), sequence.numTokens());
    if (reason != null) {
      finish(sequence, reason);
    }
  }

  private void finish(Sequence sequence, FinishReason reason) {
    if (sequence.status() == Sequence.Status.RUNNING) {
      running.remove(sequence);
      release(sequence);
    } else {
      waiting.remove(sequence);
    }
    sequence.finish(reason);
  }

  /** Ends a sequence wherever it stands, and frees what it holds; nothing if it has ended. */
  public void abort(Sequence sequence) {
    if (sequence.status() != Sequence.Status.FINISHED) {
      finish(sequence, FinishReason.ABORT);
    }
  }

  private void release(Sequence sequence) {
    BlockTable table = sequence.blockTable();
    for (int i = table.size() - 1; i >= 0; i--) {
      blocks.free(table.get(i));
    }
    table.clear();
  }

  /**
   * Lets no sequence find what is computed so far; those that run keep it. For when it may be
   * wrong.
   */
  public void forgetPrefixes() {
    prefixes.clear();
  }

  /** Whether any sequence runs or waits. */
  public boolean hasWork() {
    return !running.isEmpty() || !waiting.isEmpty();
  }

  public int numRunning() {
    return running.size();
  }

  public int numWaiting() {
    return waiting.size();
  }

  /** Blocks that no sequence owns, whether or not they hold something that may be found. */
  public int numFreeBlocks() {
    return blocks.numFree();
  }

  /** Tokens of the sequences admitted so far that the cache was searched for. */
  public long numQueriedTokens() {
    return prefixes.numQueriedTokens();
  }

  /** Those of them that it had. */
  public long numHitTokens() {
    return prefixes.numHitTokens();
  }

  BlockManager blocks() {
    return blocks;
  }

  /** How often a sequence lost its blocks so far. */
  public long numPreemptions() {
    return numPreemptions;
  }
}
