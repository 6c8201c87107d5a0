// Draws or scores one token per row of logits. Called by Kernels.sample; the semantics, and the
// generator, are those of SamplingInputs and the CPU's TokenSampler: mask, adjustments,
// temperature, top-k, top-p, min-p in Hugging Face's order, log-probabilities of the raw logits.
//
// One block per row of [R, V]; any V. Probabilities are added up as 64-bit integers (p * 2^44), so
// every sum is exact whatever its order: the same row gives the same token in every batch. The row
// is changed in place where it is adjusted; what stood there goes to raw_adjusted.

#include <math_constants.h>

#include "common.cuh"

namespace {

constexpr int kThreads = 1024;
constexpr int kWarps = kThreads / kWarpSize;
constexpr int kBins = 2048;
constexpr int kOnlyBiased = -2;  // SamplingInputs.ONLY_BIASED
constexpr int kNoMask = -1;      // SamplingInputs.NO_MASK
constexpr float kFixedOne = 17592186044416.0f;  // 2^44: V up to 2^18 cannot overflow

using Fixed = unsigned long long;

struct Candidate {
  float value;
  int index;
};

// The larger value; of equals the lower index. NaN never wins.
__device__ __forceinline__ Candidate better(Candidate a, Candidate b) {
  return b.value > a.value || (b.value == a.value && b.index < a.index) ? b : a;
}

__device__ __forceinline__ Candidate block_best(Candidate mine) {
  __shared__ Candidate partial[kWarps];
  for (int offset = kWarpSize / 2; offset > 0; offset /= 2) {
    mine = better(mine, {__shfl_xor_sync(0xffffffffu, mine.value, offset),
                         __shfl_xor_sync(0xffffffffu, mine.index, offset)});
  }
  if (threadIdx.x % kWarpSize == 0) {
    partial[threadIdx.x / kWarpSize] = mine;
  }
  __syncthreads();
  mine = partial[threadIdx.x % kWarpSize];
  for (int offset = kWarpSize / 2; offset > 0; offset /= 2) {
    mine = better(mine, {__shfl_xor_sync(0xffffffffu, mine.value, offset),
                         __shfl_xor_sync(0xffffffffu, mine.index, offset)});
  }
  __syncthreads();
  return mine;
}

__device__ __forceinline__ double block_sum_double(double value) {
  __shared__ double partial[kWarps];
  for (int offset = kWarpSize / 2; offset > 0; offset /= 2) {
    value += __shfl_xor_sync(0xffffffffu, value, offset);
  }
  if (threadIdx.x % kWarpSize == 0) {
    partial[threadIdx.x / kWarpSize] = value;
  }
  __syncthreads();
  value = partial[threadIdx.x % kWarpSize];
  for (int offset = kWarpSize / 2; offset > 0; offset /= 2) {
    value += __shfl_xor_sync(0xffffffffu, value, offset);
  }
  __syncthreads();
  return value;
}

struct Scanned {
  Fixed before;  // sum of the threads before this one
  Fixed total;
};

__device__ __forceinline__ Scanned block_scan(Fixed value) {
  __shared__ Fixed partial[kWarps];
  const int lane = threadIdx.x % kWarpSize;
  const int warp = threadIdx.x / kWarpSize;
  Fixed sum = value;
  for (int offset = 1; offset < kWarpSize; offset *= 2) {
    const Fixed other = __shfl_up_sync(0xffffffffu, sum, offset);
    sum += lane >= offset ? other : 0;
  }
  if (lane == kWarpSize - 1) {
    partial[warp] = sum;
  }
  __syncthreads();
  Fixed before = 0;
  Fixed total = 0;
  for (int w = 0; w < kWarps; w++) {
    before += w < warp ? partial[w] : 0;
    total += partial[w];
  }
  __syncthreads();
  return {before + sum - value, total};
}

// The distribution of one row while it is being cut.
struct Row {
  const float* logits;
  int size;
  float temperature;
  float max;
  unsigned int least;  // keys below this are cut
  float least_p;       // probabilities (the likeliest has 1) below this are cut

  __device__ __forceinline__ float scaled(int i) const { return logits[i] / temperature + 0.0f; }
  // Orders floats as unsigned integers; scaled() has made -0 a +0.
  __device__ __forceinline__ unsigned int key(float value) const {
    const unsigned int bits = __float_as_uint(value);
    return bits ^ (bits >> 31 ? 0xffffffffu : 0x80000000u);
  }
  __device__ __forceinline__ float probability(float scaled) const { return expf(scaled - max); }
  __device__ __forceinline__ Fixed mass(int i) const {
    const float value = scaled(i);
    const float p = probability(value);
    return key(value) >= least && p >= least_p ? static_cast<Fixed>(p * kFixedOne) : 0;
  }
};

// The largest key such that the tokens from it on (by_mass: their mass, else their number) reach
// the target; the target is at least 1 and at most the total. Three rounds over digits of the key.
template <bool kByMass>
__device__ unsigned int select(const Row& row, Fixed target) {
  __shared__ Fixed bins[kBins];
  __shared__ unsigned int found_digit;
  __shared__ Fixed found_above;
  unsigned int prefix = 0;
  for (int round = 0; round < 3; round++) {
    const int shift = round == 0 ? 21 : round == 1 ? 10 : 0;
    const int width = round == 2 ? 10 : 11;
    for (int bin = threadIdx.x; bin < kBins; bin += kThreads) {
      bins[bin] = 0;
    }
    __syncthreads();
    for (int i = threadIdx.x; i < row.size; i += kThreads) {
      const unsigned int key = row.key(row.scaled(i));
      if (round == 0 || key >> (shift + width) == prefix) {
        const Fixed weight = kByMass ? row.mass(i) : 1;
        if (weight > 0) {
          atomicAdd(&bins[(key >> shift) & ((1u << width) - 1)], weight);
        }
      }
    }
    __syncthreads();
    // Thread t looks at the t-th pair of bins from the top.
    const int high = kBins - 1 - 2 * static_cast<int>(threadIdx.x);
    const Fixed of_high = bins[high];
    const Fixed of_low = bins[high - 1];
    const Fixed above = block_scan(of_high + of_low).before;
    if (above < target && above + of_high + of_low >= target) {
      const bool is_high = above + of_high >= target;
      found_digit = is_high ? high : high - 1;
      found_above = is_high ? above : above + of_high;
    }
    __syncthreads();
    prefix = (prefix << width) | found_digit;
    target -= found_above;
    __syncthreads();
  }
  return prefix;
}

// SplitMix64's finaliser, twice (Steele et al. 2014), as in TokenSampler.
__device__ __forceinline__ unsigned long long mix(unsigned long long z) {
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
  return z ^ (z >> 31);
}

__device__ __forceinline__ double uniform(long long seed, int position) {
  const unsigned long long counter = 0x9E3779B97F4A7C15ull * (static_cast<long long>(position) + 1);
  return static_cast<double>(mix(mix(seed) + counter) >> 11) * 0x1p-53;
}

// The first token, in id order, at which the cumulated mass exceeds uniform * total; 0 if none has
// any.
__device__ int draw(const Row& row, double uniform) {
  __shared__ int drawn;
  const int chunk = (row.size + kThreads - 1) / kThreads;
  const int first = min(row.size, static_cast<int>(threadIdx.x) * chunk);
  const int last = min(row.size, first + chunk);
  Fixed mine = 0;
  for (int i = first; i < last; i++) {
    mine += row.mass(i);
  }
  if (threadIdx.x == 0) {
    drawn = 0;
  }
  const Scanned scanned = block_scan(mine);
  const Fixed target = static_cast<Fixed>(uniform * static_cast<double>(scanned.total));
  if (scanned.before <= target && scanned.before + mine > target) {
    Fixed reached = scanned.before;
    int i = first;
    while (true) {
      reached += row.mass(i);
      if (reached > target) {
        break;
      }
      i++;
    }
    drawn = i;
  }
  __syncthreads();
  return drawn;
}

__device__ __forceinline__ Candidate arg_max(const float* logits, int size) {
  Candidate best = {-CUDART_INF_F, size};
  for (int i = threadIdx.x; i < size; i += kThreads) {
    best = better(best, {logits[i], i});
  }
  best = block_best(best);
  best.index = best.index < size ? best.index : 0;  // nothing but NaN
  return best;
}

__device__ int sample_from(Row row, int top_k, float top_p, float min_p, double uniform) {
  Candidate best = {-CUDART_INF_F, row.size};
  for (int i = threadIdx.x; i < row.size; i += kThreads) {
    best = better(best, {row.scaled(i), i});
  }
  row.max = block_best(best).value;
  row.least = 0;
  row.least_p = 0.0f;
  if (top_k > 0 && top_k < row.size) {
    row.least = select<false>(row, top_k);
  }
  if (top_p < 1.0f) {
    Fixed mine = 0;
    for (int i = threadIdx.x; i < row.size; i += kThreads) {
      mine += row.mass(i);
    }
    const Fixed total = block_scan(mine).total;
    const double share = ceil(static_cast<double>(top_p) * static_cast<double>(total));
    const Fixed target = max(static_cast<Fixed>(1), static_cast<Fixed>(share));
    if (total >= target) {
      row.least = max(row.least, select<true>(row, target));
    }
  }
  row.least_p = min_p;
  return draw(row, uniform);
}

// Log-softmax of the raw row, and its likeliest tokens into the outputs. Returns log sum exp.
__device__ double write_top(int* top_tokens, float* top_logprobs, int count, const float* logits,
                            int size) {
  const float max = arg_max(logits, size).value;
  double sum = 0.0;
  for (int i = threadIdx.x; i < size; i += kThreads) {
    sum += exp(static_cast<double>(logits[i]) - max);
  }
  const double log_sum = max + log(block_sum_double(sum));
  Candidate last = {CUDART_INF_F, -1};
  for (int n = 0; n < count && n < size; n++) {
    Candidate best = {-CUDART_INF_F, size};
    for (int i = threadIdx.x; i < size; i += kThreads) {
      const float logprob = static_cast<float>(logits[i] - log_sum);
      if (logprob < last.value || (logprob == last.value && i > last.index)) {
        best = better(best, {logprob, i});
      }
    }
    last = block_best(best);
    if (threadIdx.x == 0) {
      top_tokens[n] = last.index < size ? last.index : 0;
      top_logprobs[n] = last.value;
    }
  }
  return log_sum;
}

}  // namespace

extern "C" __global__ void __launch_bounds__(kThreads) sample_f32(
    int* tokens,          // [R]
    float* logprobs,      // [R]
    int* top_tokens,      // [R, N]
    float* top_logprobs,  // [R, N]
    float* logits,        // [R, V]
    float* raw_adjusted,  // [A]
    const float* temperature, const int* top_k, const float* top_p, const float* min_p,
    const float* repetition, const float* presence, const float* frequency, const long long* seed,
    const int* position, const int* given, const int* num_logprobs, const int* adjust_offsets,
    const int* adjust_tokens, const int* adjust_counts, const float* adjust_bias,
    const int* mask_row, const unsigned int* allowed_tokens, int vocab_size, int top_n) {
  __shared__ float raw_logit;
  const int row = blockIdx.x;
  float* values = logits + static_cast<size_t>(row) * vocab_size;
  const int wanted = num_logprobs[row];
  double log_sum = 0.0;
  if (wanted >= 0) {
    log_sum = write_top(top_tokens + static_cast<size_t>(row) * top_n,
                        top_logprobs + static_cast<size_t>(row) * top_n, min(wanted, top_n), values,
                        vocab_size);
  }
  int token = given[row];
  const bool draws = token < 0;
  const int first = draws ? adjust_offsets[row] : 0;
  const int last = draws ? adjust_offsets[row + 1] : 0;
  const int mask = draws ? mask_row[row] : kNoMask;
  __syncthreads();
  if (mask != kNoMask) {
    const unsigned int* allowed =
        allowed_tokens + static_cast<size_t>(mask) * ((vocab_size + 31) / 32);
    for (int i = threadIdx.x; i < vocab_size; i += kThreads) {
      if ((allowed[i / 32] >> (i % 32) & 1) == 0) {
        values[i] = -CUDART_INF_F;
      }
    }
    __syncthreads();
  }
  for (int i = first + threadIdx.x; i < last; i += kThreads) {
    const float raw = values[adjust_tokens[i]];
    const int count = adjust_counts[i];
    float logit = raw;
    raw_adjusted[i] = raw;
    if (count != kOnlyBiased) {
      logit = logit > 0.0f ? logit / repetition[row] : logit * repetition[row];
    }
    if (count > 0) {  // rounded step by step as on the CPU, never fused
      logit = __fsub_rn(logit, __fadd_rn(presence[row], __fmul_rn(frequency[row], count)));
    }
    values[adjust_tokens[i]] = __fadd_rn(logit, adjust_bias[i]);
  }
  __syncthreads();
  if (draws && temperature[row] == 0.0f) {
    token = arg_max(values, vocab_size).index;
  } else if (draws) {
    const Row distribution = {values, vocab_size, temperature[row], 0.0f, 0, 0.0f};
    token = sample_from(distribution, top_k[row], top_p[row], min_p[row],
                        uniform(seed[row], position[row]));
  }
  if (threadIdx.x == 0) {
    tokens[row] = token;
    raw_logit = values[token];
  }
  if (wanted < 0) {
    return;
  }
  __syncthreads();
  for (int i = first + threadIdx.x; i < last; i += kThreads) {
    if (adjust_tokens[i] == token) {
      raw_logit = raw_adjusted[i];  // ids are distinct within a row: one thread at most
    }
  }
  __syncthreads();
  if (threadIdx.x == 0) {
    logprobs[row] = static_cast<float>(raw_logit - log_sum);
  }
}
