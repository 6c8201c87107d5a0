// FP8 prefill kernels: checked against plain loops over dequantised weights and quantised inputs, then
// timed at Mixtral-8x7B's shapes beside the bf16 kernels, in turn. `prefill_fp8_bench [check]`.

#include <string>

#include "prefill_check.cuh"
#include "prefill_fp8.cuh"
#include "reference.cuh"

namespace {

constexpr int kRounds = 15;

__device__ float value_of(uint8_t code) {
  const int exponent = code >> 3 & 15;
  const float mantissa = (code & 7) / 8.0f;
  const float value = exponent == 0 ? ldexpf(mantissa, -6) : ldexpf(1.0f + mantissa, exponent - 7);
  return code & 0x80 ? -value : value;
}

__global__ void random_codes(uint8_t* to, size_t count, uint64_t seed) {
  for (size_t i = blockIdx.x * static_cast<size_t>(blockDim.x) + threadIdx.x; i < count;
       i += static_cast<size_t>(gridDim.x) * blockDim.x) {
    const uint8_t code = hash(i + seed * 0x10001);
    to[i] = (code & 0x7F) == 0x7F ? code - 1 : code;
  }
}

__global__ void random_scales(float* to, size_t count, uint64_t seed, float center) {
  for (size_t i = blockIdx.x * static_cast<size_t>(blockDim.x) + threadIdx.x; i < count;
       i += static_cast<size_t>(gridDim.x) * blockDim.x) {
    to[i] = center * (0.5f + (hash(i + seed) & 0xFFFF) / 65536.0f);
  }
}

__global__ void random_exponents(uint8_t* to, size_t count, uint64_t seed, int center) {
  for (size_t i = blockIdx.x * static_cast<size_t>(blockDim.x) + threadIdx.x; i < count;
       i += static_cast<size_t>(gridDim.x) * blockDim.x) {
    to[i] = center - 1 + hash(i + seed) % 3;
  }
}

void randomise(const Fp8Weight& w, uint64_t seed) {
  constexpr float kMeanCode = 108.0f;
  const float center = 1.0f / (kMeanCode * std::sqrt(static_cast<float>(w.k)));
  random_codes<<<1024, 256>>>(reinterpret_cast<uint8_t*>(w.codes.get()), w.codes.count(), seed);
  random_scales<<<256, 256>>>(w.scales.get(), w.scales.count(), seed + 1, center);
  random_exponents<<<256, 256>>>(w.exponents.get(), w.exponents.count(), seed + 2,
                                 127 + static_cast<int>(std::log2(center)));
  w.tiled.poison(), w.tiled_scales.poison();
  w.tile();
  CUDA_CHECK(cudaDeviceSynchronize());
}

// A weight's value as the definitions have it.
struct WeightView {
  const uint8_t* codes;
  const float* scales;
  const uint8_t* exponents;
  const int* grid;
  int k, columns;
  bool mx;

  __device__ float at(size_t row, int column) const {
    const float value = value_of(codes[row * k + column]);
    const size_t line = static_cast<size_t>(grid[row]) * columns;
    return mx ? ldexpf(value, exponents[line + column / kMxColumns] - 127)
              : value * scales[line + column / kCodeColumns];
  }
};

WeightView view(const Fp8Weight& w) {
  return {reinterpret_cast<const uint8_t*>(w.codes.get()), w.scales.get(), w.exponents.get(),
          w.grid.get(), w.k, w.columns, w.mx};
}

// What rows become when they are quantised and back. A warp a row.
__global__ void requantise(float* to, const bf16* from, int rows, int k, int recipe) {
  const int row = (blockIdx.x * blockDim.x + threadIdx.x) / 32;
  const int lane = threadIdx.x % 32;
  if (row >= rows) return;
  const size_t start = static_cast<size_t>(row) * k;
  const int span = recipe == 2 ? kCodeColumns : k;
  for (int first = 0; first < k; first += span) {
    float most = 0;
    for (int i = first + lane; i < min(first + span, k); i += 32) {
      most = fmaxf(most, fabsf(__bfloat162float(from[start + i])));
    }
    for (int offset = 16; offset > 0; offset /= 2) {
      most = fmaxf(most, __shfl_xor_sync(0xffffffffu, most, offset));
    }
    float scale = most == 0 ? 1.0f : 448.0f * (1.0f / most);
    if (recipe == 2) scale = exp2f(floorf(log2f(scale)));
    for (int i = first + lane; i < min(first + span, k); i += 32) {
      float v = __bfloat162float(from[start + i]);
      if (recipe >= 0) {
        v *= scale;
        // Nearest code by its spacing.
        const float size = fminf(fabsf(v), 448.0f);
        int exponent;
        frexpf(size, &exponent);
        const float spacing = ldexpf(1.0f, max(exponent - 1, -6) - 3);
        v = copysignf(fminf(rintf(size / spacing) * spacing, 448.0f), v) / scale;
      }
      to[start + i] = v;
    }
  }
}

__device__ float dot_values(const float* x, const WeightView& w, size_t row, int k) {
  float sum = 0;
  for (int i = threadIdx.x % 32; i < k; i += 32) sum = fmaf(x[i], w.at(row, i), sum);
  return warp_total(sum);
}

template <class Out>
__global__ void want_matmul(float* want, float* got, const Out* out, const float* x, WeightView w,
                            int rows, int n, int k, size_t count) {
  const size_t sample = sample_of_warp();
  if (sample >= count) return;
  const size_t at = pick(sample, count, static_cast<size_t>(rows) * n);
  const float sum = dot_values(x + at / n * k, w, at % n, k);
  if (threadIdx.x % 32 == 0) {
    want[sample] = sum;
    got[sample] = to_float(out[at]);
  }
}

__global__ void want_gate_up(float* want, float* got, const bf16* inner, const float* x,
                             WeightView w, const int* expert_ids, const GroupPlan* plan,
                             const int* pair_row, int pairs, int slots, int hidden,
                             int intermediate, size_t count) {
  const size_t sample = sample_of_warp();
  if (sample >= count) return;
  const size_t at = pick(sample, count, static_cast<size_t>(pairs) * intermediate);
  const int pair = at / intermediate, column = at % intermediate;
  const int expert = expert_ids[pair];
  const float* row = x + static_cast<size_t>(pair / slots) * hidden;
  const size_t gate = static_cast<size_t>(expert) * 2 * intermediate + column;
  const float g = dot_values(row, w, gate, hidden);
  const float u = dot_values(row, w, gate + intermediate, hidden);
  if (threadIdx.x % 32 == 0) {
    want[sample] = g / (1 + expf(-g)) * u;
    got[sample] = __bfloat162float(
        inner[tiled_at(plan[expert], pair_row[pair], column, ceil_div(intermediate, kTileK))]);
  }
}

// Hidden rows of the pairs, row-major.
__global__ void untile_inner(bf16* to, const bf16* inner, const int* expert_ids,
                             const GroupPlan* plan, const int* pair_row, int intermediate) {
  const int pair = blockIdx.x;
  for (int i = threadIdx.x; i < intermediate; i += blockDim.x) {
    to[static_cast<size_t>(pair) * intermediate + i] = inner[tiled_at(
        plan[expert_ids[pair]], pair_row[pair], i, ceil_div(intermediate, kTileK))];
  }
}

__global__ void want_down(float* want, float* got, const float* rows, const float* inner,
                          WeightView w, const int* expert_ids, const int* pair_row, int pairs,
                          int hidden, int intermediate, size_t count) {
  const size_t sample = sample_of_warp();
  if (sample >= count) return;
  const size_t at = pick(sample, count, static_cast<size_t>(pairs) * hidden);
  const int pair = at / hidden, column = at % hidden;
  const float sum = dot_values(inner + static_cast<size_t>(pair) * intermediate, w,
                               static_cast<size_t>(expert_ids[pair]) * hidden + column,
                               intermediate);
  if (threadIdx.x % 32 == 0) {
    want[sample] = sum;
    got[sample] = rows[static_cast<size_t>(pair_row[pair]) * hidden + column];
  }
}

const char* name_of(Fp8 format) {
  return format == Fp8::kRows     ? "fp8 rows"
         : format == Fp8::kBlocks ? "fp8 blocks"
         : format == Fp8::kBf16   ? "fp8 x bf16"
                                  : "mxfp8 x bf16";
}

int reference_recipe(Fp8 format) { return quantizes(format) ? recipe_of(format) : -1; }

template <class Out>
void check_matmul(Fp8 format, int rows, int n, int k, uint64_t seed) {
  const Fp8Projection projection{format, rows, n, k};
  const Fp8Weight weight{1, n, k, 0, format == Fp8::kMxBf16};
  randomise(weight, seed);
  Buffer<bf16> x(static_cast<size_t>(rows) * k);
  fill_random(x, seed + 5, 1.0f);
  Buffer<Out> out(static_cast<size_t>(rows) * n + 64);
  out.poison(), projection.tiles.poison(), projection.codes.codes.poison();
  projection.codes.scales.poison();
  projection.tile(x.get());
  projection.multiply(out.get(), weight);
  CUDA_CHECK(cudaDeviceSynchronize());
  Buffer<float> exact(x.count());
  requantise<<<warps_grid(rows), 256>>>(exact.get(), x.get(), rows, k, reference_recipe(format));
  const size_t count = std::min<size_t>(static_cast<size_t>(rows) * n, 65536);
  Buffer<float> want(count), got(count);
  want_matmul<<<warps_grid(count), 256>>>(want.get(), got.get(), out.get(), exact.get(),
                                          view(weight), rows, n, k, count);
  const std::string name = std::string(name_of(format)) + " matmul " + std::to_string(rows) +
                           " x " + std::to_string(n) + " x " + std::to_string(k) +
                           (sizeof(Out) == 4 ? " f32" : "");
  // The matrix unit keeps 13 bits of an fp8 product's sum over 128 columns.
  const double limit = sizeof(Out) == 4 ? (quantizes(format) ? 1e-3 : 2e-5) : 4e-3;
  report_agreement(name.c_str(), got.download(), want.download(), limit);
  const std::vector<Out> all = out.download();
  bool untouched = true;
  for (size_t i = static_cast<size_t>(rows) * n; i < all.size(); i++) {
    untouched &= std::isnan(static_cast<float>(all[i]));
  }
  if (!untouched) report_equal((name + " stays within its rows").c_str(), false);
}

void check_moe(Fp8 format, int tokens, int hidden, int intermediate, int experts, int slots,
               Routing routing, uint64_t seed) {
  const std::string name = std::string(name_of(format)) + " moe T" + std::to_string(tokens) + " D" +
                           std::to_string(hidden) + " I" + std::to_string(intermediate);
  const Fp8Moe layer{format, tokens, experts, slots, hidden, intermediate};
  const bool mx = format == Fp8::kMxBf16;
  const Fp8Weight gate_up{experts, 2 * intermediate, hidden, intermediate, mx};
  const Fp8Weight down{experts, hidden, intermediate, 0, mx};
  randomise(gate_up, seed), randomise(down, seed + 100);
  const std::vector<int> ids = route(routing, tokens, experts, slots, seed);
  Buffer<int> expert_ids(ids.size());
  expert_ids.upload(ids);
  Buffer<bf16> x(static_cast<size_t>(tokens) * hidden);
  fill_random(x, seed + 1, 1.0f);
  layer.x_tiles.poison(), layer.inner.poison(), layer.rows.poison(),
      layer.bf16_rows.poison();
  layer.x_codes.codes.poison(), layer.inner_codes.codes.poison();
  layer.x_codes.scales.poison(), layer.inner_codes.scales.poison();
  layer.make_plan(expert_ids.get());
  layer.gather(x.get());
  layer.gate_up(gate_up);
  layer.quantize_inner();
  layer.down(down);
  CUDA_CHECK(cudaDeviceSynchronize());
  Buffer<float> exact(x.count());
  requantise<<<warps_grid(tokens), 256>>>(exact.get(), x.get(), tokens, hidden,
                                          reference_recipe(format));
  size_t count = std::min<size_t>(ids.size() * intermediate, 65536);
  Buffer<float> want(65536), got(65536);
  const auto compare = [&](const char* what) {
    std::vector<float> w = want.download(), g = got.download();
    w.resize(count), g.resize(count);
    report_agreement((name + what).c_str(), g, w, 4e-3);
  };
  want_gate_up<<<warps_grid(count), 256>>>(
      want.get(), got.get(), layer.inner.get(), exact.get(), view(gate_up), expert_ids.get(),
      layer.plan.get(), layer.pair_row.get(), layer.pairs, slots, hidden, intermediate, count);
  compare(" gate_up");
  Buffer<bf16> inner(ids.size() * intermediate);
  Buffer<float> exact_inner(inner.count());
  untile_inner<<<layer.pairs, 256>>>(inner.get(), layer.inner.get(), expert_ids.get(),
                                     layer.plan.get(), layer.pair_row.get(), intermediate);
  requantise<<<warps_grid(layer.pairs), 256>>>(exact_inner.get(), inner.get(), layer.pairs,
                                               intermediate, reference_recipe(format));
  count = std::min<size_t>(ids.size() * hidden, 65536);
  const std::vector<float> rows = layer.down_rows();
  Buffer<float> down_rows(rows.size());
  down_rows.upload(rows);
  want_down<<<warps_grid(count), 256>>>(want.get(), got.get(), down_rows.get(), exact_inner.get(),
                                        view(down), expert_ids.get(), layer.pair_row.get(),
                                        layer.pairs, hidden, intermediate, count);
  compare(" down");
}

void check_fp8() {
  for (const Fp8 format : {Fp8::kRows, Fp8::kBlocks, Fp8::kBf16, Fp8::kMxBf16}) {
    uint64_t seed = 1000 * (1 + static_cast<int>(format));
    check_matmul<bf16>(format, 1, 384, 512, seed += 10);
    check_matmul<bf16>(format, 77, 200, 192, seed += 10);
    check_matmul<bf16>(format, 513, 391, 320, seed += 10);
    check_matmul<float>(format, 300, 391, 512, seed += 10);
    check_matmul<float>(format, 700, 1000, 4096, seed += 10);
    for (int rows = 16; rows <= 256; rows += 16) {
      check_matmul<bf16>(format, rows - 3, 256, 192, seed += 10);
      check_matmul<float>(format, rows, 256, 256, seed += 10);
    }
    check_moe(format, 1, 64, 64, 8, 2, Routing::kRandom, seed += 10);
    check_moe(format, 37, 192, 192, 5, 2, Routing::kRandom, seed += 10);
    check_moe(format, 300, 256, 192, 8, 2, Routing::kSkewed, seed += 10);
    check_moe(format, 97, 448, 320, 8, 3, Routing::kRandom, seed += 10);
    check_moe(format, 1000, 512, 448, 8, 2, Routing::kRandom, seed += 10);
  }
  std::printf("%d checks failed\n", failures());
}

// ---- timing -------------------------------------------------------------------------------------

constexpr int kHidden = 4096, kIntermediate = 14336, kExperts = 8, kSlots = 2;

void bench_moe(int routed, Routing routing) {
  static const Buffer<bf16> gate_up_bf16(size_t{kExperts} * 2 * kIntermediate * kHidden);
  static const Buffer<bf16> down_bf16(size_t{kExperts} * kHidden * kIntermediate);
  static const Fp8Weight gate_up{kExperts, 2 * kIntermediate, kHidden, kIntermediate, false};
  static const Fp8Weight down{kExperts, kHidden, kIntermediate, 0, false};
  static const Fp8Weight gate_up_mx{kExperts, 2 * kIntermediate, kHidden, kIntermediate, true};
  static const Fp8Weight down_mx{kExperts, kHidden, kIntermediate, 0, true};
  static bool filled = false;
  if (!filled) {
    fill_random(gate_up_bf16, 11, 0.02f), fill_random(down_bf16, 12, 0.02f);
    randomise(gate_up, 1), randomise(down, 2), randomise(gate_up_mx, 3), randomise(down_mx, 4);
    filled = true;
  }
  const int tokens = routed / kSlots;
  Buffer<int> ids(routed);
  ids.upload(route(routing, tokens, kExperts, kSlots, 7));
  Buffer<float> weights(routed);
  weights.upload(std::vector<float>(routed, 0.5f));
  Buffer<bf16> x(static_cast<size_t>(tokens) * kHidden), out(x.count());
  fill_random(x, 5, 1.0f);
  const MoeLayer plain{tokens, kExperts, kSlots, kHidden, kIntermediate};
  const Fp8Moe rows{Fp8::kRows, tokens, kExperts, kSlots, kHidden, kIntermediate};
  const Fp8Moe blocks{Fp8::kBlocks, tokens, kExperts, kSlots, kHidden, kIntermediate};
  const Fp8Moe wide{Fp8::kBf16, tokens, kExperts, kSlots, kHidden, kIntermediate};
  const Fp8Moe mx{Fp8::kMxBf16, tokens, kExperts, kSlots, kHidden, kIntermediate};
  std::vector<std::function<void()>> works = {[&] {
    plain.make_plan(ids.get());
    plain.gather(x.get());
    plain.gate_up(gate_up_bf16.get());
    plain.down(down_bf16.get());
    plain.combine(out.get(), weights.get());
  }};
  for (const Fp8Moe* layer : {&rows, &blocks, &wide, &mx}) {
    const bool is_mx = layer->format == Fp8::kMxBf16;
    works.push_back([&, layer, is_mx] {
      layer->make_plan(ids.get());
      layer->gather(x.get());
      layer->gate_up(is_mx ? gate_up_mx : gate_up);
      layer->quantize_inner();
      layer->down(is_mx ? down_mx : down);
      layer->combine(out.get(), weights.get());
    });
  }
  for (const Fp8Moe* layer : {&rows, &blocks}) {
    works.push_back([&, layer] { layer->gather(x.get()); });
    works.push_back([&, layer] { layer->gate_up(gate_up); });
    works.push_back([&, layer] { layer->quantize_inner(); });
    works.push_back([&, layer] { layer->down(down); });
  }
  const std::vector<double> ms = median_ms(works, kRounds);
  const double flop = 6.0 * routed * kHidden * kIntermediate;
  std::printf("| %d %s |", routed, routing == Routing::kBalanced ? "balanced" : "random");
  for (int i = 0; i < 5; i++) {
    std::printf(" %.0f us, %.0f (%.2f) |", ms[i] * 1e3, flop / ms[i] * 1e-9, ms[0] / ms[i]);
  }
  for (int i = 5; i < 13; i++) std::printf(" %.0f", ms[i] * 1e3);
  std::printf(" | gate_up %.0f %.0f down %.0f %.0f TFLOP/s |\n", flop / 1.5 / ms[6] * 1e-9,
              flop / 1.5 / ms[10] * 1e-9, flop / 3 / ms[8] * 1e-9, flop / 3 / ms[12] * 1e-9);
  std::fflush(stdout);
}

void bench_dense(const char* name, int rows, int n, int k) {
  const Projection plain{rows, n, k};
  const Fp8Projection fp8{Fp8::kRows, rows, n, k};
  const Fp8Projection blocks{Fp8::kBlocks, rows, n, k};
  const Fp8Weight weight{1, n, k, 0, false};
  randomise(weight, 3);
  Buffer<bf16> plain_weight(tiled_weight_elements(1, n, k)), x(static_cast<size_t>(rows) * k);
  Buffer<bf16> out(static_cast<size_t>(rows) * n);
  fill_random(plain_weight, 1, 0.02f), fill_random(x, 2, 1.0f);
  const std::vector<double> ms = median_ms({[&] {
                                              plain.tile(x.get());
                                              plain.multiply(out.get(), plain_weight.get());
                                            },
                                            [&] {
                                              fp8.tile(x.get());
                                              fp8.multiply(out.get(), weight);
                                            },
                                            [&] {
                                              blocks.tile(x.get());
                                              blocks.multiply(out.get(), weight);
                                            }},
                                           kRounds);
  const double flop = 2.0 * rows * n * k;
  std::printf("| %s %d | %.0f | %.0f (%.2f) | %.0f (%.2f) |\n", name, rows, flop / ms[0] * 1e-9,
              flop / ms[1] * 1e-9, ms[0] / ms[1], flop / ms[2] * 1e-9, ms[0] / ms[2]);
}

}  // namespace

int main(int argc, char** argv) {
  allow_shared_everywhere();
  allow_shared_fp8();
  check_fp8();
  if (argc > 1 && std::string(argv[1]) == "check") return failures() > 0;
  std::printf("| routed rows | bf16 | fp8 rows | fp8 blocks | fp8 x bf16 | mxfp8 x bf16, TFLOP/s (times"
              " bf16) | gather gate_up quantise down us, rows and blocks | |\n");
  bench_moe(16, Routing::kBalanced);
  for (const int routed : {64, 256, 512, 1024, 4096, 8192, 16384}) {
    if (routed >= 1024) bench_moe(routed, Routing::kBalanced);
    bench_moe(routed, Routing::kRandom);
  }
  std::printf("| projection | bf16 | fp8 rows | fp8 blocks |\n");
  for (const int rows : {512, 2048, 8192}) {
    bench_dense("qkv 6144 x 4096", rows, 6144, 4096);
    bench_dense("output 4096 x 4096", rows, 4096, 4096);
  }
  std::printf("%d checks failed\n", failures());
  return failures() > 0;
}
