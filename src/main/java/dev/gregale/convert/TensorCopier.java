package dev.gregale.convert;

import dev.gregale.checkpoint.ShardLayout;
import dev.gregale.checkpoint.TensorInfo;
import dev.gregale.tensor.HostTensor;
import java.io.IOException;
import java.lang.foreign.MemorySegment;
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
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.atomic.AtomicLong;

/**
 * Writes the tensors of a plan. While one batch is written, those before it are forced to the disk,
 * read back, compared with their source and summed on other threads; then they are noted in the
 * journal, in order. Memory: a buffer or two per thread, whatever the tensors' size.
 */
final class TensorCopier {
  private static final int PIECE_BYTES = 1 << 20;
  private static final int THREADS = Math.clamp(Runtime.getRuntime().availableProcessors(), 1, 4);

  private final Path folder;
  private final ConversionPlan plan;
  private final Journal journal;
  private final Channels channels;
  private final long batchBytes;
  private final ConversionProgress.Listener listener;
  private final long totalBytes;
  private final AtomicLong doneBytes = new AtomicLong();
  private final Deque<Batch> pending = new ArrayDeque<>();

  /** Tensors that are written, and their sums once they have been read back. */
  private record Batch(List<TensorInfo> tensors, Future<List<String>> sums) {}

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
    try (ExecutorService verifier =
        Executors.newFixedThreadPool(
            THREADS, Thread.ofPlatform().daemon().name("convert-verify-", 0).factory())) {
      for (ShardLayout shard : plan.shards()) {
        int count = shard.tensors().size();
        if (skip < count) {
          copy(shard, shard.tensors().subList(skip, count), verifier);
        }
        skip = Math.max(0, skip - count);
      }
    }
    return resumed;
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
      doneBytes.addAndGet(count);
      report(ConversionProgress.Phase.CHECK, tensor);
    }
    return sha.hex();
  }

  private void report(ConversionProgress.Phase phase, TensorInfo tensor) {
    listener.progress(new ConversionProgress(phase, tensor.name(), doneBytes.get(), totalBytes));
  }

  private void copy(ShardLayout shard, List<TensorInfo> rest, ExecutorService verifier)
      throws IOException {
    try (FileChannel file =
        channels.open(
            folder.resolve(shard.fileName()),
            Set.of(StandardOpenOption.READ, StandardOpenOption.WRITE, StandardOpenOption.CREATE))) {
      try {
        Channels.writeFully(file, shard.head(), 0);
        for (int from = 0; from < rest.size(); ) {
          List<TensorInfo> batch = rest.subList(from, batchEnd(rest, from));
          for (TensorInfo tensor : batch) {
            write(file, tensor);
          }
          pending.add(new Batch(batch, verifier.submit(() -> readBack(file, batch))));
          from += batch.size();
          finish(THREADS);
        }
        finish(0);
      } finally {
        pending.forEach(batch -> batch.sums().cancel(true)); // after a failure
        pending.clear();
      }
      file.truncate(shard.fileBytes());
      file.force(true);
    }
  }

  private int batchEnd(List<TensorInfo> tensors, int from) {
    long bytes = 0;
    int to = from;
    while (to < tensors.size() && bytes < batchBytes) {
      bytes += tensors.get(to++).bytes();
    }
    return to;
  }

  private void write(FileChannel file, TensorInfo tensor) throws IOException {
    long[] at = {tensor.offset()};
    WeightCast.forEachPiece(
        plan.sourceOf(tensor),
        tensor.dtype(),
        PIECE_BYTES,
        piece -> at[0] += Channels.writeFully(file, piece.asByteBuffer(), at[0]));
  }

  /** Notes the oldest batches in the journal, until no more than some are left. */
  private void finish(int left) throws IOException {
    while (pending.size() > left) {
      Batch batch = pending.getFirst();
      journal.append(batch.tensors(), await(batch.sums()));
      pending.removeFirst();
    }
  }

  private List<String> readBack(FileChannel file, List<TensorInfo> batch) throws IOException {
    file.force(true);
    List<String> sums = new ArrayList<>();
    for (TensorInfo tensor : batch) {
      sums.add(readBack(file, tensor));
    }
    return sums;
  }

  private String readBack(FileChannel file, TensorInfo tensor) throws IOException {
    HostTensor source = plan.sourceOf(tensor);
    Sha256 sha = new Sha256();
    ByteBuffer buffer = ByteBuffer.allocate(PIECE_BYTES);
    long[] at = {tensor.offset()};
    WeightCast.forEachPiece(
        source,
        tensor.dtype(),
        PIECE_BYTES,
        piece -> {
          buffer.clear().limit((int) piece.byteSize());
          while (buffer.hasRemaining()) {
            int count = file.read(buffer, at[0] + buffer.position());
            if (count <= 0) {
              throw new IOException(tensor.name() + ": the file is shorter than what was written");
            }
          }
          if (MemorySegment.ofBuffer(buffer.flip()).mismatch(piece) >= 0) {
            throw new IOException(tensor.name() + ": read back, it is not what was written");
          }
          sha.update(buffer.array(), buffer.limit());
          at[0] += piece.byteSize();
          doneBytes.addAndGet(piece.byteSize());
          report(ConversionProgress.Phase.COPY, tensor);
        });
    return sha.hex();
  }

  private static List<String> await(Future<List<String>> sums) throws IOException {
    try {
      return sums.get();
    } catch (ExecutionException e) {
      switch (e.getCause()) {
        case IOException io -> throw io;
        case RuntimeException runtime -> throw runtime;
        case Error error -> throw error;
        case null, default -> throw new IllegalStateException(e.getCause());
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new IOException("interrupted", e);
    }
  }
}
