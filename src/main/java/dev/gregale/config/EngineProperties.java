package dev.gregale.config;

import dev.gregale.engine.SchedulingPolicy;
import java.time.Duration;
import java.util.List;
import org.jspecify.annotations.Nullable;
import org.springframework.boot.context.properties.ConfigurationProperties;
import org.springframework.boot.context.properties.bind.DefaultValue;

/**
 * How the engine runs. The names are vLLM's.
 *
 * @param backend What runs the model: auto, cpu or cuda. auto takes CUDA where it works, else the
 *     CPU; cuda where it does not work fails at start.
 * @param threads Threads of the CPU backend; 0 takes all processors.
 * @param deterministic Give a request the same bits whatever it is computed together with, on a GPU
 *     too, at some cost in speed. The CPU always does.
 * @param gpuMemoryUtilization Share of a GPU's memory that this process may take: weights,
 *     activations, and what remains for the KV cache.
 * @param tensorParallelSize Ranks that a model is divided among, each with its share of the heads
 *     and of every expert.
 * @param expertParallelSize Groups of ranks that the experts are dealt out to; must divide
 *     tensor-parallel-size. 1 divides every expert among all ranks; as many as there are ranks
 *     gives each whole experts.
 * @param dataParallelSize Replicas of the model, each on tensor-parallel-size devices of its own,
 *     with max-num-seqs and a KV cache of its own, behind one queue.
 * @param devices GPUs to run on, as nvidia-smi counts them, one for each rank of the first replica,
 *     then of the second, and so on. Default: 0, 1, 2 ...
 * @param ncclLibrary File of NCCL's library, for sums of long messages between GPUs. Default: ranks
 *     add them up themselves; where they cannot reach each other's memory, libnccl.so.2.
 * @param maxNumSeqs Sequences that run together at most.
 * @param maxNumBatchedTokens Tokens computed in one step at most; longer prompts are computed in
 *     chunks.
 * @param maxModelLen Prompt and output of one sequence in tokens, at most. Default: what the model
 *     was made for, as far as the KV cache holds it.
 * @param blockSize Tokens per block of the KV cache. Default: 16 on the CPU, 64 on a GPU.
 * @param numBlocks Blocks of the KV cache. Default: enough for max-num-seqs sequences of
 *     max-model-len, within the memory that is left.
 * @param kvCacheDtype What keys and values are kept in: auto is fp32 on the CPU and bf16 on a GPU;
 *     fp8 halves bf16's memory, with an fp32 scale for each key and value of a head.
 * @param enablePrefixCaching Keep the KV blocks of prompts and answers as long as there is room,
 *     and let later requests of the same API key that begin alike take them over.
 * @param schedulingPolicy Who of the requests that wait runs next: fcfs takes them as they come and
 *     refuses a "priority" other than 0; priority takes the lowest one first, then as they come.
 *     With it a client can make all others wait.
 * @param maxQueuedRequests Requests that may wait; further ones are answered 429.
 * @param maxSequencesPerRequest Prompts times n (or best_of) of one request, at most.
 * @param maxTokensPerRequest Prompts times n times max_tokens of one request, at most.
 * @param drainTimeout How long running requests may go on once the server is told to stop.
 */
@ConfigurationProperties("gregale.engine")
public record EngineProperties(
    @DefaultValue("auto") BackendChoice backend,
    @DefaultValue("0") int threads,
    @DefaultValue("false") boolean deterministic,
    @DefaultValue("0.90") double gpuMemoryUtilization,
    @DefaultValue("1") int tensorParallelSize,
    @DefaultValue("1") int expertParallelSize,
    @DefaultValue("1") int dataParallelSize,
    @DefaultValue List<Integer> devices,
    @Nullable String ncclLibrary,
    @DefaultValue("64") int maxNumSeqs,
    @DefaultValue("512") int maxNumBatchedTokens,
    @Nullable Integer maxModelLen,
    @Nullable Integer blockSize,
    @Nullable Integer numBlocks,
    @DefaultValue("auto") KvCacheDType kvCacheDtype,
    @DefaultValue("true") boolean enablePrefixCaching,
    @DefaultValue("fcfs") SchedulingPolicy schedulingPolicy,
    @DefaultValue("256") int maxQueuedRequests,
    @DefaultValue("128") int maxSequencesPerRequest,
    @DefaultValue("65536") long maxTokensPerRequest,
    @DefaultValue("20s") Duration drainTimeout) {

  /** Which backend to take. */
  public enum BackendChoice {
    AUTO,
    CPU,
    CUDA
  }

  /** What the KV cache is kept in. */
  public enum KvCacheDType {
    AUTO,
    FP32,
    BF16,
    FP8
  }
}
