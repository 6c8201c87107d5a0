package dev.gregale.backend;

import dev.gregale.tensor.DType;
import dev.gregale.tensor.HostTensor;
import dev.gregale.tensor.Shape;
import dev.gregale.tensor.WeightScaling;
import java.util.List;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * A machine that can run the model. One thread at a time uses a backend. What it allocates lives
 * until {@link #close}.
 */
public interface Backend extends AutoCloseable {

  /** For logs and metrics: {@code cpu} or {@code cuda}. */
  String name();

  /** One line on what was found: device, threads, vector width. */
  String description();

  /** The ops of this backend. */
  ModelOps kernels();

  /** The element type that activations are kept in. */
  DType activationDType();

  /** The element type of the KV cache where the user asks for none. */
  DType kvCacheDType();

  /** Tokens per block of the KV cache where the user asks for no number. */
  default int kvBlockSize() {
    return 16;
  }

  /**
   * What the KV cache can be kept in, {@link #kvCacheDType} among them. In F8_E4M3 each key and
   * each value of a token's head has an fp32 scale of its own, from its largest element, as {@link
   * dev.gregale.tensor.InputScaling.Kind#PER_ROW}; attention reads what was so rounded.
   */
  default List<DType> kvCacheDTypes() {
    return List.of(kvCacheDType());
  }

  /** Bytes that a block takes in one layer: keys and values, with their scales if they have any. */
  default long kvBlockBytes(int blockSize, AttentionShape shape, DType dtype) {
    long scales = dtype == DType.F8_E4M3 ? Float.BYTES : 0;
    return 2L * blockSize * shape.numKvHeads() * (shape.headDim() * dtype.bytes() + scales);
  }

  /** Bytes that a block takes beside that, once for all layers: what ops keep of one in passing. */
  default long kvSharedBlockBytes(int blockSize, AttentionShape shape, DType dtype) {
    return 0;
  }

  /** Bytes that this backend may still allocate for a KV cache, or -1 where it cannot tell. */
  long freeBytes();

  /**
   * Bytes that a KV cache may take beside a model that is not yet allocated.
   *
   * @param utilization share of a GPU's memory that this process may take in all
   */
  default long freeBytesBeside(ModelBytes model, double utilization) {
    return freeBytes();
  }

  /** What its device's memory is used for; null where it has none of its own. For any thread. */
  default @Nullable DeviceMemory deviceMemory() {
    return null;
  }

  /** Inputs that fixed scales cut off so far; null where they are not counted. For any thread. */
  default @Nullable SaturatedInputs saturatedInputs() {
    return null;
  }

  /**
   * Takes a weight over, in whatever layout and stored precision suits its role. F8_E4M3 codes stay
   * codes, beside their scales ({@link HostTensor#scales}): products are of code * scale, and
   * quantise their inputs as {@link dev.gregale.tensor.WeightScaling#inputs} says. Only QKV,
   * ATTENTION_OUTPUT, LINEAR, EXPERTS_GATE_UP and EXPERTS_DOWN come quantised. The source may be
   * gone after the call.
   */
  Tensor upload(WeightRole role, HostTensor source);

  /**
   * A weight of that shape with pseudo-random values of mean 0 and standard deviation about 0.02
   * (norm gains: all ones), for measuring speed without a checkpoint.
   */
  Tensor dummy(WeightRole role, DType dtype, Shape shape, long seed);

  /** The same, quantised: random codes under scales that give that deviation. */
  Tensor dummy(WeightRole role, WeightScaling scaling, Shape shape, long seed);

  /** A zeroed dense array. */
  Tensor allocate(DType dtype, Shape shape);

  /**
   * A zeroed dense array {@code [T, heads * headDim]}, of whose heads each device has its own where
   * there are several.
   */
  default Tensor allocateHeads(DType dtype, Shape shape) {
    return allocate(dtype, shape);
  }

  /** Several zeroed dense arrays of one shape, which {@link #readback(List)} fetches at once. */
  default List<Tensor> allocateTogether(DType dtype, Shape shape, int count) {
    return Stream.generate(() -> allocate(dtype, shape)).limit(count).toList();
  }

  /** A layer's KV blocks, {@code numBlocks} of {@code blockSize} tokens. */
  KvLayer allocateKv(int numBlocks, int blockSize, AttentionShape shape, DType dtype);

  /** Copies the first {@code count} ints into an int32 array. */
  void write(Tensor destination, int[] values, int count);

  /** Copies the first {@code count} longs into an int64 array. */
  void write(Tensor destination, long[] values, int count);

  /** Copies the first {@code count} floats into an array, rounding to its type. */
  void write(Tensor destination, float[] values, int count);

  /** Waits for the ops issued so far, then copies the first {@code count} ints out. */
  void read(Tensor source, int[] values, int count);

  /** Waits for the ops issued so far, then copies the first {@code count} elements out as fp32. */
  void read(Tensor source, float[] values, int count);

  /** Fetches that array's content, again and again, without holding up the ops behind it. */
  default Readback readback(Tensor source) {
    return readback(List.of(source));
  }

  /**
   * The same for all the arrays of one {@link #allocateTogether}: of each its first elements, one
   * array's behind the other's.
   */
  Readback readback(List<Tensor> together);

  /** Marks among the ops, to time them by. */
  Timeline timeline();

  /** Measures what the device gives at best; null for a backend that does not know how. */
  default @Nullable Ceilings measureCeilings() {
    return null;
  }

  /** Whether ops are queued and run beside their caller, rather than have run on return. */
  default boolean isAsynchronous() {
    return false;
  }

  /**
   * Makes the scratch memory that ops need for batches up to these limits, so that later steps
   * allocate nothing and {@link #freeBytes} is what really remains.
   */
  default void reserve(WorkspaceLimits limits) {}

  /**
   * Rows that a recorded decode step of that many sequences is to be padded to, so that few sizes
   * need a recording; the number itself where recording costs nothing.
   */
  default int recordedRows(int numSeqs) {
    return numSeqs;
  }

  /**
   * Records work for replay over the same arrays with the counts that its batch has now; the CPU
   * returns the work as it is, CUDA captures a graph.
   */
  Step record(Runnable work);

  @Override
  void close();
}
