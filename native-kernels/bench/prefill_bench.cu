// Prefill kernels at Mixtral-8x7B's shapes: checked, then timed. `prefill_bench all`, or one of
// check, gemm, dense, attention. TFLOP/s count useful rows only. Where the host has cuBLAS, it
// multiplies balanced rows in turn with ours (A B A B): on a hot GPU only such ratios mean
// anything.

#include <cstring>
#include <memory>
#include <string>

#include "prefill_check.cuh"
#include "reference.cuh"

namespace {

constexpr int kHidden = 4096, kIntermediate = 14336, kExperts = 8, kSlots = 2;
constexpr int kRounds = 21;

__global__ void read_kernel(const uint4* from, size_t count, uint32_t* sink) {
  const size_t stride = static_cast<size_t>(gridDim.x) * blockDim.x;
  uint32_t sum = 0;
  size_t i = static_cast<size_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  for (; i + 7 * stride < count; i += 8 * stride) {
    uint4 v[8];
#pragma unroll
    for (int j = 0; j < 8; j++) v[j] = __ldcs(from + i + j * stride);
#pragma unroll
    for (int j = 0; j < 8; j++) sum ^= v[j].x ^ v[j].y ^ v[j].z ^ v[j].w;
  }
  if (sum == 0x12345678) *sink = sum;
}

struct Bench {
  Cublas cublas;
  double read_gbs = 0, matmul_tflops = 0;

  void ceilings() {
    Buffer<bf16> a(size_t{1} << 30);
    Buffer<uint32_t> sink(1);
    fill_random(a, 1, 1.0f);
    const double ms =
        median_ms({[&] {
                    read_kernel<<<multiprocessors() * 8, 512>>>(
                        reinterpret_cast<const uint4*>(a.get()), a.bytes() / 16, sink.get());
                  }},
                  kRounds)[0];
    read_gbs = a.bytes() / ms * 1e-6;
    std::printf("read ceiling %.0f GB/s\n", read_gbs);
    if (cublas.present()) {
      const size_t side = 8192 * 8192;
      const double m = median_ms({[&] {
                                   cublas.matmul(a.get() + 2 * side, a.get(), a.get() + side, 1,
                                                 8192, 8192, 8192);
                                 }},
                                 kRounds)[0];
      matmul_tflops = 2.0 * 8192 * 8192 * 8192 / m * 1e-9;
      std::printf("cuBLAS 8192^3: %.0f TFLOP/s\n", matmul_tflops);
    }
  }
};

// The layer's weights once, row-major for the checks and tiled for the kernels.
struct MoeWeights {
  Buffer<bf16> gate_up{size_t{kExperts} * 2 * kIntermediate * kHidden};
  Buffer<bf16> down{size_t{kExperts} * kHidden * kIntermediate};
  Buffer<bf16> gate_up_tiles{gate_up.count()};
  Buffer<bf16> down_tiles{down.count()};

  MoeWeights() {
    fill_random(gate_up, 11, 0.02f);
    fill_random(down, 12, 0.02f);
    tile_gate_up(gate_up_tiles.get(), gate_up.get(), kExperts, kIntermediate, kHidden);
    tile_weight(down_tiles.get(), down.get(), kExperts, kHidden, kIntermediate);
    CUDA_CHECK(cudaDeviceSynchronize());
  }
};

void bench_moe(const Bench& bench, const MoeWeights& weights, int routed, Routing routing) {
  const int tokens = routed / kSlots;
  const MoeLayer layer{tokens, kExperts, kSlots, kHidden, kIntermediate};
  const std::vector<int> ids = route(routing, tokens, kExperts, kSlots, 77 + routed);
  Buffer<int> expert_ids(ids.size());
  expert_ids.upload(ids);
  Buffer<float> expert_weights(ids.size());
  expert_weights.upload(std::vector<float>(ids.size(), 0.5f));
  Buffer<bf16> x(static_cast<size_t>(tokens) * kHidden), out(x.count());
  fill_random(x, 5 + routed, 1.0f);
  layer.poison(), out.poison();
  layer.make_plan(expert_ids.get());
  layer.gather(x.get());
  layer.gate_up(weights.gate_up_tiles.get());
  layer.down(weights.down_tiles.get());
  layer.combine(out.get(), expert_weights.get());
  const size_t samples = 8192;
  Buffer<float> want(samples), got(samples);
  const std::string name =
      std::to_string(routed) + (routing == Routing::kRandom ? " random" : " balanced");
  reference_gate_up<<<warps_grid(samples), 256>>>(
      want.get(), got.get(), layer.inner.get(), x.get(), weights.gate_up.get(), expert_ids.get(),
      layer.plan.get(), layer.pair_row.get(), layer.pairs, kSlots, kHidden, kIntermediate, samples);
  report_agreement((name + " gate_up, sampled").c_str(), got.download(), want.download(), 4e-3);
  reference_down<<<warps_grid(samples), 256>>>(
      want.get(), got.get(), layer.rows.get(), layer.inner.get(), weights.down.get(),
      expert_ids.get(), layer.plan.get(), layer.pair_row.get(), layer.pairs, kHidden, kIntermediate,
      samples);
  report_agreement((name + " down, sampled").c_str(), got.download(), want.download(), 4e-3);

  const bool compare = bench.cublas.present() && routing == Routing::kBalanced;
  Buffer<bf16> other(compare ? static_cast<size_t>(routed) * 2 * kIntermediate : 1);
  std::vector<std::function<void()>> works = {
      [&] { layer.gate_up(weights.gate_up_tiles.get()); },
      [&] { layer.down(weights.down_tiles.get()); },
      [&] { layer.make_plan(expert_ids.get()); },
      [&] { layer.gather(x.get()); },
      [&] { layer.combine(out.get(), expert_weights.get()); },
      [&] {
        layer.make_plan(expert_ids.get());
        layer.gather(x.get());
        layer.gate_up(weights.gate_up_tiles.get());
        layer.down(weights.down_tiles.get());
        layer.combine(out.get(), expert_weights.get());
      }};
  if (compare) {
    works.insert(works.begin() + 1, [&] {
      bench.cublas.matmul(other.get(), layer.tiles.get(), weights.gate_up.get(), kExperts,
                          routed / kExperts, 2 * kIntermediate, kHidden);
    });
    works.insert(works.begin() + 3, [&] {
      bench.cublas.matmul(other.get(), layer.inner.get(), weights.down.get(), kExperts,
                          routed / kExperts, kHidden, kIntermediate);
    });
  }
  std::vector<double> ms = median_ms(works, kRounds);
  double blas[2] = {};
  if (compare) {
    blas[0] = ms[1], blas[1] = ms[3];
    ms.erase(ms.begin() + 3), ms.erase(ms.begin() + 1);
  }
  int used = 0;
  for (int e = 0; e < kExperts; e++) {
    used += std::count(ids.begin(), ids.end(), e) > 0;
  }
  const double down_flop = 2.0 * routed * kHidden * kIntermediate;
  const double down_bytes = 2.0 * used * kHidden * kIntermediate;
  std::printf("| %s | %.0f", name.c_str(), 2 * down_flop / ms[0] * 1e-9);
  if (compare) std::printf(" (%.2f)", blas[0] / ms[0]);
  std::printf(" | %.0f", down_flop / ms[1] * 1e-9);
  if (compare) std::printf(" (%.2f)", blas[1] / ms[1]);
  std::printf(" | %.0f%% %.0f%% | %.1f %.1f %.1f %.1f %.1f | %.0f us, %.0f TFLOP/s |\n",
              200 * down_bytes / ms[0] * 1e-6 / bench.read_gbs,
              100 * down_bytes / ms[1] * 1e-6 / bench.read_gbs, ms[2] * 1e3, ms[3] * 1e3,
              ms[0] * 1e3, ms[1] * 1e3, ms[4] * 1e3, ms[5] * 1e3, 3 * down_flop / ms[5] * 1e-9);
}

void bench_dense(const Bench& bench, const char* name, int rows, int n, int k) {
  const Projection projection{rows, n, k};
  constexpr int kCopies = 3;  // rotated, so that weights come from memory as in a model
  Buffer<bf16> x(static_cast<size_t>(rows) * k), out(static_cast<size_t>(rows) * n);
  const size_t elements = tiled_weight_elements(1, n, k);
  Buffer<bf16> weights(kCopies * elements), row_major(elements);
  fill_random(x, 1, 1.0f);
  fill_random(weights, 2, 0.02f);
  fill_random(row_major, 3, 0.02f);
  tile_weight(weights.get(), row_major.get(), 1, n, k);
  out.poison();
  projection.tile(x.get());
  projection.multiply(out.get(), weights.get());
  const size_t samples = 4096;
  Buffer<float> want(samples), got(samples);
  reference_matmul<<<warps_grid(samples), 256>>>(want.get(), got.get(), out.get(), x.get(),
                                                 row_major.get(), rows, n, k, samples);
  report_agreement((std::string(name) + " " + std::to_string(rows) + ", sampled").c_str(),
                   got.download(), want.download(), 4e-3);
  int turn = 0;
  std::vector<std::function<void()>> works = {
      [&] {
        projection.tile(x.get());
        projection.multiply(out.get(), weights.get() + turn % kCopies * elements);
      },
      [&] { projection.tile(x.get()); },
      [&] { projection.multiply(out.get(), weights.get() + (turn + 1) % kCopies * elements); },
      [&] {
        if (bench.cublas.present()) {
          bench.cublas.matmul(out.get(), x.get(), weights.get() + (turn + 2) % kCopies * elements,
                              1, rows, n, k);
        }
        turn++;
      }};
  const std::vector<double> ms = median_ms(works, kRounds);
  const double flop = 2.0 * rows * n * k;
  std::printf("| %s %d | %.0f | %.0f | %.1f us | %.0f (%.2f with tiling, %.2f without) |\n", name,
              rows, flop / ms[0] * 1e-9, flop / ms[2] * 1e-9, ms[1] * 1e3, flop / ms[3] * 1e-9,
              ms[3] / ms[0], ms[3] / ms[2]);
}

void bench_attention(const Bench& bench, const char* name, const AttentionBatch& batch) {
  constexpr int kDim = 128;
  Buffer<bf16> qkv(static_cast<size_t>(batch.tokens()) * (batch.heads + 2 * batch.kv_heads) * kDim);
  Buffer<bf16> out(static_cast<size_t>(batch.tokens()) * batch.heads * kDim);
  const size_t cache = batch.blocks * batch.kv_heads * kv_block_elements(batch.block_size, kDim);
  Buffer<bf16> keys(cache), values(cache);
  fill_random(qkv, 1, 1.0f);
  fill_random(keys, 2, 1.0f);
  fill_random(values, 3, 1.0f);
  const std::vector<int> table_values = batch.block_tables();
  Buffer<int> tables(table_values.size()), starts(batch.cu_seq_lens.size());
  Buffer<int> contexts(batch.context_lens.size());
  Buffer<int> work(2);
  work.zero();
  tables.upload(table_values), starts.upload(batch.cu_seq_lens);
  contexts.upload(batch.context_lens);
  const double ms = median_ms({[&] {
                                attend(batch, out.get(), qkv.get(), keys.get(), values.get(),
                                       tables.get(), starts.get(), contexts.get(), work.get());
                              }},
                              kRounds)[0];
  double seen = 0;
  for (int s = 0; s < batch.seqs(); s++) {
    const double fresh = batch.cu_seq_lens[s + 1] - batch.cu_seq_lens[s];
    seen += fresh * (batch.context_lens[s] - fresh) + fresh * (fresh + 1) / 2;
  }
  const double tflops = 4.0 * seen * kDim * batch.heads / ms * 1e-9;
  std::printf("| %s | %.1f us | %.0f | %.0f%% |\n", name, ms * 1e3, tflops,
              bench.matmul_tflops > 0 ? 100 * tflops / bench.matmul_tflops : 0.0);
}

void bench_attentions(const Bench& bench) {
  std::printf(
      "| causal attention, 32 heads, 8 KV heads, d 128 | time | TFLOP/s | share of cuBLAS |\n");
  for (const int block : {16, 64}) {
    for (const int tokens : {512, 1024, 2048, 4096, 8192, 16384}) {
      AttentionBatch batch{32, 8, block, 0};
      batch.add(tokens, tokens);
      bench_attention(bench,
                      (std::to_string(tokens) + " tokens, block " + std::to_string(block)).c_str(),
                      batch);
    }
  }
  AttentionBatch chunk{32, 8, 16, 0};
  chunk.add(2048, 8192);
  bench_attention(bench, "chunk of 2048 ending at 8192", chunk);
  AttentionBatch several{32, 8, 16, 0};
  for (int s = 0; s < 16; s++) several.add(256 + 32 * s, 256 + 32 * s);
  bench_attention(bench, "16 sequences of 256 to 736", several);
}

}  // namespace

int main(int argc, char** argv) {
  const std::string what = argc > 1 ? argv[1] : "all";
  const bool all = what == "all";
  allow_shared_everywhere();
  if (all || what == "check") {
    check_all(argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 20261123);
    if (failures() > 0) return 1;
  }
  Bench bench;
  if (what != "check") bench.ceilings();
  if (all || what == "gemm") {
    const MoeWeights weights;
    std::printf(
        "| routed rows | gate_up TFLOP/s (cuBLAS) | down | share of read | plan gather gate_up "
        "down combine us | layer |\n");
    for (const int routed : {1024, 4096, 8192, 16384}) {
      bench_moe(bench, weights, routed, Routing::kBalanced);
      bench_moe(bench, weights, routed, Routing::kRandom);
    }
    bench_moe(bench, weights, 16, Routing::kBalanced);
    for (const int routed : {16, 32, 64, 128, 256, 512}) {
      bench_moe(bench, weights, routed, Routing::kRandom);
    }
  }
  if (all || what == "dense") {
    std::printf("| projection, rows | TFLOP/s with tiling | without | tiling | cuBLAS (ratio) |\n");
    for (const int rows : {64, 256, 512, 1024, 2048, 8192}) {
      bench_dense(bench, "qkv 6144 x 4096", rows, 6144, 4096);
      bench_dense(bench, "output 4096 x 4096", rows, 4096, 4096);
    }
    bench_dense(bench, "lm_head 32000 x 4096", 2048, 32000, 4096);
    bench_dense(bench, "lm_head 32000 x 4096", 64, 32000, 4096);
  }
  if (all || what == "attention") bench_attentions(bench);
  if (what != "check") bench.ceilings();
  std::printf("%d checks failed\n", failures());
  return failures() > 0;
}
