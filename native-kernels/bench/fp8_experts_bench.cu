// Ways of computing the experts with FP8 weights and inputs, beside each other: each must give the bits
// of the first (rows of down in bf16: its values), then all are timed in turn at 8x7B's shape.
// `fp8_experts_bench [check | time [routed rows ...]]`

#include <cstring>
#include <memory>
#include <string>

#include "fp8_experts_variants.cuh"
#include "prefill_check.cuh"
#include "reference.cuh"

namespace {

constexpr int kRounds = 15;

//                            name                  registers swiglu             scatter bf16   dependent
const Variant kVariants[] = {{"as it is",              false, Swiglu::kTogether, false, false, false},
                             {"registers",             true,  Swiglu::kTogether, false, false, false},
                             {"apart",                 false, Swiglu::kApart,    false, false, false},
                             {"registers, apart",      true,  Swiglu::kApart,    false, false, false},
                             {"scatter",               false, Swiglu::kTogether, true,  false, false},
                             {"codes (scatter, apart)", false, Swiglu::kCodes,   true,  false, false},
                             {"bf16 rows",             false, Swiglu::kTogether, false, true,  false},
                             {"dependent",             false, Swiglu::kTogether, false, false, true},
                             {"all",                   true,  Swiglu::kCodes,    true,  true,  true},
                             {"all but registers",     false, Swiglu::kCodes,    true,  true,  true},
                             {"all but codes",         true,  Swiglu::kApart,    true,  true,  true},
                             {"all but bf16 rows",     true,  Swiglu::kCodes,    true,  false, true},
                             {"all but dependent",     true,  Swiglu::kCodes,    true,  true,  false}};

template <class T>
bool same_bits(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0;
}

std::vector<float> floats(const std::vector<bf16>& from) { return {from.begin(), from.end()}; }

struct Results {
  std::vector<bf16> inner, out;
  std::vector<char> codes;
  std::vector<float> scales;
  unsigned long long saturated;
};

class Layer {
 public:
  Layer(int tokens, int hidden, int intermediate, int experts, int slots, Routing routing,
        uint64_t seed)
      : moe{Fp8::kRows, tokens, experts, slots, hidden, intermediate} {
    const std::vector<int> chosen = route(routing, tokens, experts, slots, seed);
    ids.upload(chosen);
    std::vector<float> of_experts(chosen.size());
    for (size_t i = 0; i < of_experts.size(); i++) of_experts[i] = 0.25f + i * 7919 % 1000 / 2000.0f;
    weights.upload(of_experts);
    fill_random(x, seed + 1, 1.0f);
    CUDA_CHECK(cudaHostAlloc(&saturated, sizeof(*saturated), cudaHostAllocMapped));
  }
  ~Layer() { cudaFreeHost(saturated); }

  Results run(ExpertsVariant& variant, const Fp8Weight& up, const Fp8Weight& down) {
    moe.plan.poison(), moe.pair_row.poison(), moe.row_pair.poison();
    moe.x_codes.codes.poison(), moe.x_codes.scales.poison();
    moe.inner.poison(), moe.inner_codes.codes.poison(), moe.inner_codes.scales.poison();
    moe.rows.poison(), out.poison(), variant.work.poison();
    *saturated = 0;
    variant.run(out.get(), x.get(), ids.get(), weights.get(), up, down);
    CUDA_CHECK(cudaDeviceSynchronize());
    return {moe.inner.download(), out.download(), moe.inner_codes.codes.download(),
            moe.inner_codes.scales.download(), *saturated};
  }

  Fp8Moe moe;
  Buffer<int> ids{static_cast<size_t>(moe.pairs)};
  Buffer<float> weights{static_cast<size_t>(moe.pairs)};
  Buffer<bf16> x{static_cast<size_t>(moe.tokens) * moe.hidden};
  Buffer<bf16> out{x.count()};
  unsigned long long* saturated = nullptr;
};

void check(const char* shape, Layer& layer, const Fp8Weight& up, const Fp8Weight& down) {
  for (const bool fixed : {false, true}) {
    const Quantisation quantisation{fixed ? 3 : 0, 1.0f / 448, layer.saturated};
    ExpertsVariant first(layer.moe, kVariants[0], quantisation);
    const Results want = layer.run(first, up, down);
    double norm = 0;
    for (const bf16 value : want.out) norm += std::fabs(static_cast<float>(value));
    const std::string name = std::string(shape) + (fixed ? ", fixed scale, " : ", ");
    report_equal((name + "finite, not all zeros, values cut off where the scale is fixed").c_str(),
                 std::isfinite(norm) && norm > 0 && (want.saturated > 0) == fixed);
    for (const Variant& v : kVariants) {
      ExpertsVariant variant(layer.moe, v, quantisation);
      for (int round = 0; round < 3; round++) {
        const Results got = layer.run(variant, up, down);
        const std::string what = name + v.name;
        if (!same_bits(got.inner, want.inner)) report_equal((what + ": SwiGLU").c_str(), false);
        report_equal((what + ": codes, scales, counts").c_str(),
                     same_bits(got.codes, want.codes) && same_bits(got.scales, want.scales) &&
                         got.saturated == want.saturated);
        if (v.bf16_rows) {
          report_agreement((what + ": out").c_str(), floats(got.out), floats(want.out), 4e-3);
        } else {
          report_equal((what + ": out").c_str(), same_bits(got.out, want.out));
        }
      }
    }
  }
}

void check_shape(const char* name, int tokens, int hidden, int intermediate, int experts, int slots,
                 Routing routing, uint64_t seed) {
  Layer layer(tokens, hidden, intermediate, experts, slots, routing, seed);
  const Fp8Weight up{experts, 2 * intermediate, hidden, intermediate, false};
  const Fp8Weight down{experts, hidden, intermediate, 0, false};
  randomise(up, seed + 10), randomise(down, seed + 20);
  check(name, layer, up, down);
}

void check_all() {
  check_shape("T1", 1, 64, 64, 8, 2, Routing::kRandom, 100);
  check_shape("T37", 37, 192, 192, 5, 2, Routing::kRandom, 200);
  check_shape("T300 skewed", 300, 256, 192, 8, 2, Routing::kSkewed, 300);
  check_shape("T97", 97, 448, 320, 8, 3, Routing::kRandom, 400);
  check_shape("T1000", 1000, 512, 448, 8, 2, Routing::kRandom, 500);
  check_shape("8x7B T600", 600, 4096, 14336, 8, 2, Routing::kRandom, 600);
  std::printf("%d checks failed\n", failures());
}

void time_rows(int routed, Routing routing, const Fp8Weight& up, const Fp8Weight& down) {
  Layer layer(routed / 2, 4096, 14336, 8, 2, routing, 7);
  std::vector<std::unique_ptr<ExpertsVariant>> variants;
  std::vector<std::function<void()>> works;
  for (const Variant& v : kVariants) {
    variants.push_back(std::make_unique<ExpertsVariant>(layer.moe, v, Quantisation{}));
    works.push_back([&, variant = variants.back().get()] {
      variant->run(layer.out.get(), layer.x.get(), layer.ids.get(), layer.weights.get(), up, down);
    });
  }
  const std::vector<double> ms = median_ms(works, kRounds);
  std::printf("\n| %d %s | us | TFLOP/s | times the first |\n|---|---|---|---|\n", routed,
              routing == Routing::kBalanced ? "balanced" : "random");
  const double flop = 6.0 * routed * 4096 * 14336;
  for (size_t i = 0; i < ms.size(); i++) {
    std::printf("| %s | %.0f | %.0f | %.3f |\n", kVariants[i].name, ms[i] * 1e3, flop / ms[i] * 1e-9,
                ms[0] / ms[i]);
  }
  ExpertsVariant& codes = *variants[5];
  codes.run(layer.out.get(), layer.x.get(), layer.ids.get(), layer.weights.get(), up, down);
  CUDA_CHECK(cudaDeviceSynchronize());
  std::printf("rows that gate_up quantised itself: %d\n", codes.quantised());

  // Stages alone, each of the first variant that has it.
  works.clear();
  std::vector<const char*> names;
  const auto stage = [&](const char* name, std::function<void()> work) {
    names.push_back(name), works.push_back(std::move(work));
  };
  const auto clear = [&](ExpertsVariant& v) {
    CUDA_CHECK(cudaMemsetAsync(v.work.get(), 0, v.work.bytes()));
  };
  ExpertsVariant &first = *variants[0], &registers = *variants[1], &apart = *variants[2],
                 &both = *variants[3], &scatter = *variants[4], &rows = *variants[6],
                 &all = *variants[12];
  stage("plan", [&] { first.plan(layer.ids.get()); });
  stage("gather", [&] { first.inputs(layer.x.get()); });
  stage("scatter", [&] { scatter.inputs(layer.x.get()); });
  stage("gate_up", [&] { first.gate_up(up); });
  stage("gate_up registers", [&] { registers.gate_up(up); });
  stage("gate_up apart", [&] { apart.gate_up(up); });
  stage("gate_up registers apart", [&] { both.gate_up(up); });
  stage("gate_up codes + rest", [&] { clear(codes), codes.gate_up(up), codes.inner(); });
  stage("gate_up registers codes + rest", [&] { clear(all), all.gate_up(up), all.inner(); });
  stage("quantise", [&] { first.inner(); });
  stage("down", [&] { first.down(down); });
  stage("down registers", [&] { registers.down(down); });
  stage("down bf16", [&] { rows.down(down); });
  stage("down registers bf16", [&] { all.down(down); });
  stage("combine", [&] { first.combine(layer.out.get(), layer.weights.get()); });
  stage("combine of bf16", [&] { rows.combine(layer.out.get(), layer.weights.get()); });
  const std::vector<double> stages = median_ms(works, kRounds);
  std::printf("stages, us:");
  for (size_t i = 0; i < stages.size(); i++) std::printf(" %s %.1f;", names[i], stages[i] * 1e3);
  std::printf("\n");
  std::fflush(stdout);
}

void time_all(const std::vector<int>& sizes) {
  const Fp8Weight up{8, 2 * 14336, 4096, 14336, false};
  const Fp8Weight down{8, 4096, 14336, 0, false};
  randomise(up, 1), randomise(down, 2);
  for (const int routed : sizes) {
    time_rows(routed, Routing::kBalanced, up, down);
    time_rows(routed, Routing::kRandom, up, down);
  }
}

}  // namespace

int main(int argc, char** argv) {
  const std::string what = argc > 1 ? argv[1] : "";
  allow_shared_variants();
  if (what != "time") check_all();
  if (what != "check") {
    std::vector<int> sizes;
    for (int i = 2; i < argc; i++) sizes.push_back(std::atoi(argv[i]));
    time_all(sizes.empty() ? std::vector<int>{1024, 4096, 16384} : sizes);
  }
  return failures() > 0;
}
