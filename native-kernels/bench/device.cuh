// What every bench program needs: checked calls, buffers, random and poisoned contents, medians of
// device events, agreement of two arrays, and cuBLAS where the host has it.
#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime.h>
#include <dlfcn.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <vector>

#define CUDA_CHECK(call)                                                 \
  do {                                                                   \
    const cudaError_t status = (call);                                   \
    if (status != cudaSuccess) {                                         \
      std::fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #call, \
                   cudaGetErrorString(status));                          \
      std::exit(1);                                                      \
    }                                                                    \
  } while (0)

using bf16 = __nv_bfloat16;

template <class T>
class Buffer {
 public:
  explicit Buffer(size_t count) : count_(count) { CUDA_CHECK(cudaMalloc(&data_, bytes())); }
  Buffer(const Buffer&) = delete;
  ~Buffer() { cudaFree(data_); }
  T* get() const { return data_; }
  size_t count() const { return count_; }
  size_t bytes() const { return std::max<size_t>(count_, 1) * sizeof(T); }
  // Every bit set: NaN in each float type, -1 in int.
  void poison() const { CUDA_CHECK(cudaMemset(data_, 0xFF, bytes())); }
  void zero() const { CUDA_CHECK(cudaMemset(data_, 0, bytes())); }
  void upload(const std::vector<T>& from) const {
    CUDA_CHECK(cudaMemcpy(data_, from.data(), from.size() * sizeof(T), cudaMemcpyHostToDevice));
  }
  std::vector<T> download() const {
    std::vector<T> to(count_);
    CUDA_CHECK(cudaMemcpy(to.data(), data_, count_ * sizeof(T), cudaMemcpyDeviceToHost));
    return to;
  }

 private:
  size_t count_;
  T* data_ = nullptr;
};

__device__ inline uint32_t hash(uint64_t x) {
  x += 0x9E3779B97F4A7C15ull;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ull;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBull;
  return static_cast<uint32_t>(x >> 32);
}

// About normal: the sum of four uniforms, scaled to standard deviation `sigma`.
static __global__ void fill_kernel(bf16* out, size_t count, uint64_t seed, float sigma) {
  const size_t stride = static_cast<size_t>(gridDim.x) * blockDim.x;
  for (size_t i = static_cast<size_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < count;
       i += stride) {
    const uint32_t a = hash(i * 2 + seed * 0x10001);
    const uint32_t b = hash(i * 2 + 1 + seed * 0x10001);
    const float sum = ((a & 0xFFFF) + (a >> 16) + (b & 0xFFFF) + (b >> 16)) / 65536.0f - 2.0f;
    out[i] = __float2bfloat16(sum * 1.7320508f * sigma);
  }
}

inline void fill_random(const Buffer<bf16>& buffer, uint64_t seed, float sigma) {
  fill_kernel<<<1024, 256>>>(buffer.get(), buffer.count(), seed, sigma);
  CUDA_CHECK(cudaGetLastError());
}

// Medians of device events, the works taken in turn so that all see the same clocks.
inline std::vector<double> median_ms(const std::vector<std::function<void()>>& works, int rounds) {
  cudaEvent_t begin, end;
  CUDA_CHECK(cudaEventCreate(&begin));
  CUDA_CHECK(cudaEventCreate(&end));
  std::vector<std::vector<float>> times(works.size());
  for (int round = -2; round < rounds; round++) {
    for (size_t i = 0; i < works.size(); i++) {
      CUDA_CHECK(cudaEventRecord(begin));
      works[i]();
      CUDA_CHECK(cudaEventRecord(end));
      CUDA_CHECK(cudaEventSynchronize(end));
      float ms = 0;
      CUDA_CHECK(cudaEventElapsedTime(&ms, begin, end));
      if (round >= 0) {
        times[i].push_back(ms);
      }
    }
  }
  CUDA_CHECK(cudaGetLastError());
  std::vector<double> medians;
  for (auto& t : times) {
    std::nth_element(t.begin(), t.begin() + t.size() / 2, t.end());
    medians.push_back(t[t.size() / 2]);
  }
  CUDA_CHECK(cudaEventDestroy(begin));
  CUDA_CHECK(cudaEventDestroy(end));
  return medians;
}

inline int& failures() {
  static int count = 0;
  return count;
}

// ||got - want|| / ||want||, and the largest difference relative to its own value plus the
// reference's root mean square (an outlier rounds by as much as it is large).
inline void report_agreement(const char* what, const std::vector<float>& got,
                             const std::vector<float>& want, double limit) {
  double difference = 0, norm = 0, worst = 0;
  size_t not_finite = 0;
  for (const float value : want) {
    norm += static_cast<double>(value) * value;
  }
  const double rms = std::sqrt(norm / std::max<size_t>(want.size(), 1));
  for (size_t i = 0; i < want.size(); i++) {
    if (!std::isfinite(got[i])) {
      not_finite++;
      continue;
    }
    const double d = static_cast<double>(got[i]) - want[i];
    difference += d * d;
    worst = std::max(worst, std::fabs(d) / (rms + std::fabs(want[i])));
  }
  const double relative = std::sqrt(difference / std::max(norm, 1e-300));
  const bool good = not_finite == 0 && relative < limit && worst < 5 * limit;
  failures() += !good;
  std::printf("%-4s %-58s rel %.2e  worst %.2e  not finite %zu of %zu\n", good ? "ok" : "BAD", what,
              relative, worst, not_finite, want.size());
}

inline void report_equal(const char* what, bool equal) {
  failures() += !equal;
  std::printf("%-4s %s\n", equal ? "ok" : "BAD", what);
}

// cuBLAS by dlopen, for comparison only; absent where the host has none.
class Cublas {
 public:
  Cublas() {
    for (const char* name : {"libcublas.so.13", "libcublas.so.12", "libcublas.so"}) {
      library_ = library_ == nullptr ? dlopen(name, RTLD_NOW) : library_;
    }
    if (library_ == nullptr) {
      std::printf("no cuBLAS here: %s\n", dlerror());
      return;
    }
    auto create = reinterpret_cast<int (*)(void**)>(dlsym(library_, "cublasCreate_v2"));
    gemm_ = reinterpret_cast<Gemm>(dlsym(library_, "cublasGemmStridedBatchedEx"));
    if (create == nullptr || gemm_ == nullptr || create(&handle_) != 0) {
      std::printf("cuBLAS does not start here\n");
      gemm_ = nullptr;
    }
  }

  bool present() const { return gemm_ != nullptr; }

  // out [batch][rows, n] = x [batch][rows, k] * w [batch][n, k]^T, all row-major bf16.
  void matmul(bf16* out, const bf16* x, const bf16* w, int batch, int rows, int n, int k) const {
    const float one = 1, zero = 0;
    const int status =
        gemm_(handle_, 1, 0, n, rows, k, &one, w, kBf16, k, static_cast<long long>(n) * k, x, kBf16,
              k, static_cast<long long>(rows) * k, &zero, out, kBf16, n,
              static_cast<long long>(rows) * n, batch, kCompute32F, -1);
    if (status != 0) {
      std::fprintf(stderr, "cuBLAS answered %d\n", status);
      std::exit(1);
    }
  }

 private:
  using Gemm = int (*)(void*, int, int, int, int, int, const void*, const void*, int, int,
                       long long, const void*, int, int, long long, const void*, void*, int, int,
                       long long, int, int, int);
  static constexpr int kBf16 = 14;
  static constexpr int kCompute32F = 68;
  void* library_ = nullptr;
  void* handle_ = nullptr;
  Gemm gemm_ = nullptr;
};
