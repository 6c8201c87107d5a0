package dev.gregale.convert;

import dev.gregale.checkpoint.ShardLayout;
import dev.gregale.checkpoint.TensorInfo;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.List;
import java.util.Set;
import java.util.concurrent.ArrayBlockingQueue;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CancellationException;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.atomic.AtomicLong;

/**
 * Writes the tensors of a plan, several at a time, each by a thread of its own that reads it back
 * as well. Those that are done are noted in the journal, in order, once they are on the disk.
 * Memory: a few buffers per thread, whatever the tensors' size.
 */
final class TensorCopier {
  private static final int PIECE_BYTES = 1 << 20;

  private static final int THREADS = Math.clamp(Runtime.getRuntime().availableProcessors(), 1, 4);

  /** Tensors ahead of the journal; bounds the files that are open. */
  private static final int MAX_PENDING = 4 * THREADS;

  private final Path folder;
  private final ConversionPlan plan;
  private final Journal journal;
  private final Channels channels;
  private final long batchBytes;
  private final ConversionProgress.Listener listener;
  private final long totalBytes;
  private final AtomicLong doneBytes = new AtomicLong();
  private final BlockingQueue<TensorWriter> writers = new ArrayBlockingQueue<>(THREADS);
  private final Deque<Copy> pending = new ArrayDeque<>();
  private final List<Copy> unnoted = new ArrayList<>();

  /** A tensor on its way, and its sum once it has been read back. */
  private record Copy(TensorInfo tensor, ShardFile file, boolean last, Future<String> sum) {}

  TensorCopier(
      Path folder,
      ConversionPlan plan,
      Journal journal,
      Channels channels,
      long batchBytes,
      ConversionProgress.Listener listener) {
    this.folder = folder;
    this.plan = plan;
    this.journal = journal;
    this.channels = channels;
    this.batchBytes = batchBytes;
    this.listener = listener;
    this.totalBytes = plan.totalBytes();
  }

  /** Goes on at the first tensor that the journal does not have; gives the bytes done before. */
  long run() throws IOException {
    int skip = intact();
    journal.truncate(skip);
    long resumed = plan.tensors().stream().limit(skip).mapToLong(TensorInfo::bytes).sum();
    doneBytes.set(resumed);
    try (Arena arena = Arena.ofShared();
        ExecutorService transfers = pool("convert-transfer-", THREADS * (TensorWriter.DEPTH + 1));
        ExecutorService pool = pool("convert-", THREADS)) {
      long largest = plan.tensors().stream().mapToLong(TensorInfo::bytes).max().orElse(0);
      for (int i = 0; i < THREADS; i++) {
        writers.add(new TensorWriter(arena, transfers, largest));
      }
      copyAfter(skip, pool);
    }
    return resumed;
  }

  private static ExecutorService pool(String name, int threads) {
    return Executors.newFixedThreadPool(
        threads, Thread.ofPlatform().daemon().name(name, 0).factory());
  }

  /** How many of the journal's tensors are in the files, first to last, as the journal has them. */
  private int intact() throws IOException {
    int intact = 0;
    for (ShardLayout shard : plan.shards()) {
      Path path = folder.resolve(shard.fileName());
      if (intact == journal.size() || !Files.exists(path)) {
        return intact;
      }
      try (FileChannel file = channels.open(path, Set.of(StandardOpenOption.READ))) {
        for (TensorInfo tensor : shard.tensors()) {
          if (intact == journal.size()
              || !journal.sums().get(intact).equals(storedSum(file, tensor))) {
            return intact;
          }
          intact++;
        }
      }
    }
    return intact;
  }

  /** The sum of what a file has where a tensor is to be; of less if the file is shorter. */
  private String storedSum(FileChannel file, TensorInfo tensor) throws IOException {
    Sha256 sha = new Sha256();
    ByteBuffer buffer = ByteBuffer.allocate(PIECE_BYTES);
    long end = tensor.offset() + tensor.bytes();
    int count = 1;
    for (long at = tensor.offset(); at < end && count > 0; at += count) {
      buffer.clear().limit((int) Math.min(PIECE_BYTES, end - at));
      count = Math.max(0, file.read(buffer, at));
      sha.update(buffer.array(), count);
      report(ConversionProgress.Phase.CHECK, tensor, count);
    }
    return sha.hex();
  }

  private void report(ConversionProgress.Phase phase, TensorInfo tensor, long bytes) {
    long done = doneBytes.addAndGet(bytes);
    listener.progress(new ConversionProgress(phase, tensor.name(), done, totalBytes));
  }

  private void copyAfter(int skip, ExecutorService pool) throws IOException {
    Deque<ShardFile> open = new ArrayDeque<>();
    try {
      int index = 0;
      for (ShardLayout shard : plan.shards()) {
        List<TensorInfo> tensors = shard.tensors();
        int first = Math.clamp((long) skip - index, 0, tensors.size());
        index += tensors.size();
        if (first < tensors.size()) {
          ShardFile file = ShardFile.open(folder, shard, channels);
          open.add(file);
          for (TensorInfo tensor : tensors.subList(first, tensors.size())) {
            boolean last = tensor == tensors.getLast();
            pending.add(new Copy(tensor, file, last, pool.submit(() -> copy(tensor, file))));
            finish(MAX_PENDING, open);
          }
        }
      }
      finish(0, open);
      note(open);
    } finally {
      pool.shutdown();
      pending.forEach(copy -> copy.sum().cancel(true)); // after a failure
      pool.close();
      for (ShardFile file : open) {
        file.close();
      }
    }
  }

  private String copy(TensorInfo tensor, ShardFile file) throws IOException, InterruptedException {
    TensorWriter writer = writers.take();
    try {
      return writer.write(
          plan, tensor, file, bytes -> report(ConversionProgress.Phase.COPY, tensor, bytes));
    } catch (InternalError e) { // what a mapped file costs that cannot be read
      throw new IOException(
          tensor.name() + ": the source cannot be read, it was cut short or its disk fails", e);
    } finally {
      writers.add(writer);
    }
  }

  /** Waits for the oldest tensors, until no more than some are left. */
  private void finish(int left, Deque<ShardFile> open) throws IOException {
    while (pending.size() > left) {
      Copy copy = pending.getFirst();
      await(copy.sum());
      unnoted.add(pending.removeFirst());
      if (unnoted.stream().mapToLong(done -> done.tensor().bytes()).sum() >= batchBytes) {
        note(open);
      }
    }
  }

  /** Brings what has been read back onto the disk, for good, and notes it. */
  private void note(Deque<ShardFile> open) throws IOException {
    List<String> sums = new ArrayList<>();
    for (Copy copy : unnoted) {
      sums.add(await(copy.sum()));
    }
    for (ShardFile file : unnoted.stream().map(Copy::file).distinct().toList()) {
      file.force();
    }
    journal.append(unnoted.stream().map(Copy::tensor).toList(), sums);
    for (Copy copy : unnoted) {
      if (copy.last()) {
        open.remove(copy.file());
        copy.file().close();
      }
    }
    unnoted.clear();
  }

  private static String await(Future<String> sum) throws IOException {
    try {
      return sum.get();
    } catch (ExecutionException e) {
      throw TensorWriter.failure(e.getCause());
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new CancellationException("interrupted");
    }
  }
}
