// Checks every decode kernel against references on the GPU, then times a Mixtral-8x7B layer's
// decode step under a CUDA graph and prints its share of the read ceiling measured in the same run.
//
//   make -f bench/decode.mk && .../decode_bench [fp8 | mxfp8] [odd] [check] [ceiling] [stages] [attention] [table]     (default: all)
//
// Weights rotate over several layers (2.9 GB each, L2 is 50 MB); medians of device events; bytes
// are those of the projections, the experts actually chosen, and keys and values.

#include <string>

#include "decode_check.cuh"

namespace {

constexpr int kLayers = 4;         // with weights of their own
constexpr int kLayersOfStep = 16;  // in a graph
constexpr int kRuns = 21;
constexpr int kContext = 1024;
constexpr int kLongContext = 4096;
constexpr int kMaxTokens = 256;
constexpr int kMaxSplits = 32;

Shape mixtral_shape() { return {4096, 32, 8, 128, 8, 2, 14336, 32000, 0, 16}; }
Shape odd_shape() { return {448, 8, 2, 64, 5, 3, 320, 352, 40, 32}; }

double median(std::vector<float> v) {
  std::sort(v.begin(), v.end());
  return v[v.size() / 2];
}

template <class Work>
double time_ms(cudaStream_t stream, int runs, const Work& work) {
  cudaEvent_t start, stop;
  CHECK(cudaEventCreate(&start));
  CHECK(cudaEventCreate(&stop));
  std::vector<float> times;
  for (int i = 0; i < runs + 2; i++) {
    work(start, stop);
    CHECK(cudaStreamSynchronize(stream));
    float ms;
    CHECK(cudaEventElapsedTime(&ms, start, stop));
    if (i >= 2) times.push_back(ms);
  }
  return median(times);
}

template <class Record>
cudaGraphExec_t capture(Launcher& launch, const Record& record) {
  cudaGraph_t graph;
  cudaGraphExec_t exec;
  launch.first = true;
  CHECK(cudaStreamBeginCapture(launch.stream(), cudaStreamCaptureModeThreadLocal));
  record();
  CHECK(cudaStreamEndCapture(launch.stream(), &graph));
  CHECK(cudaGraphInstantiate(&exec, graph, 0));
  CHECK(cudaGraphDestroy(graph));
  return exec;
}

class Bench {
 public:
  explicit Bench(Format format) {
    mixtral_.format = odd_.format = format;
    cudaDeviceProp p;
    CHECK(cudaGetDeviceProperties(&p, 0));
    processors_ = p.multiProcessorCount;
    CHECK(cudaStreamCreate(&stream_));
    std::printf("%s, %d multiprocessors\n", p.name, processors_);
    prepare(mixtral_, 57);
  }

  void make_layers() {
    if (!layers_.empty()) return;
    blocks_ = kMaxTokens * ceil_div(kContext, mixtral_.block_size);
    for (int i = 0; i < kLayers; i++) layers_.push_back(make_layer(mixtral_, 100 * i, blocks_));
    arrays_ = make_arrays(mixtral_, kMaxTokens, kLongContext, kMaxSplits);
    const size_t head = tiled_weight_elements(1, mixtral_.vocabulary, mixtral_.hidden);
    lm_head_ = device<Bf16>(head);
    fill(lm_head_, head, 77, 0.0f, sqrtf(3.0f / mixtral_.hidden));
  }

  // A shape with no round numbers: small enough for compute-sanitizer.
  int check_odd() {
    Checks checks;
    Launcher launch(nullptr, processors_);
    const Tuning same = {8, 64, 2, 57};
    {
      const Reference r = make_reference(odd_, 64);
      const StepArrays a = make_arrays(odd_, 64, 512, kMaxSplits);
      const int blocks = 64 * 16;
      const LayerWeights w = make_layer(odd_, 5000, blocks);
      const size_t head = tiled_weight_elements(1, odd_.vocabulary, odd_.hidden);
      Bf16* lm_head = device<Bf16>(head);
      fill(lm_head, head, 78, 0.0f, 0.1f);
      for (const Case& c : {Case{"odd T=1", 1, false, false, 300},
                            {"odd T=3", 3, false, false, 17},
                            {"odd T=8", 8, false, true, 512},
                            {"odd T=9", 9, false, false, 100},
                            {"odd T=40", 40, false, true, 512},
                            {"odd T=64", 64, true, false, 64}}) {
        std::printf("%s\n", c.name);
        StageCheck(odd_, w, a, r, launch, checks, lm_head, same).run(c, blocks, 9 + c.tokens);
      }
      report(checks, "odd shape");
    }
    return checks.failed;
  }

  int check() {
    make_layers();
    Checks checks;
    Launcher launch(nullptr, processors_);
    const Tuning same = {8, 64, 2, 57};
    const Reference r = make_reference(mixtral_, kMaxTokens);
    for (const Case& c : {Case{"8x7B T=1", 1, false, false, 1024},
                          {"8x7B T=2", 2, false, false, 333},
                          {"8x7B T=5 padding", 5, false, true, 1024},
                          {"8x7B T=8", 8, false, false, 1024},
                          {"8x7B T=8 same experts", 8, true, false, 64},
                          {"8x7B T=16", 16, false, false, 700},
                          {"8x7B T=50 padding", 50, false, true, 300},
                          {"8x7B T=128", 128, false, false, 1024},
                          {"8x7B T=256", 256, false, false, 200},
                          {"8x7B T=256 same experts", 256, true, false, 40}}) {
      StageCheck(mixtral_, layers_[0], arrays_, r, launch, checks, lm_head_, same)
          .run(c, blocks_, 31 + c.tokens);
      report(checks, c.name);
    }
    std::printf("%d checks, %d failed, largest relative error %.2e\n", checks.done, checks.failed,
                checks.worst);
    for (float* p : {r.normed, r.wide, r.gate, r.up, r.context, r.keys, r.values, r.router}) {
      CHECK(cudaFree(p));
    }
    return checks.failed;
  }

  double ceiling() {
    const size_t count = 8ull * 2 * 14336 * mixtral_.weight_tiles(4096) * kRowBytes / 16;
    uint32_t* sink = device<uint32_t>(512);
    int turn = 0;
    const double ms = time_ms(stream_, 9, [&](cudaEvent_t start, cudaEvent_t stop) {
      CHECK(cudaEventRecord(start, stream_));
      for (int i = 0; i < 2; i++) {
        read_stream<<<processors_ * 4, 512, 0, stream_>>>(
            sink, reinterpret_cast<const uint4*>(layers_[turn++ % kLayers].gate_up.tiles), count);
      }
      CHECK(cudaEventRecord(stop, stream_));
    });
    CHECK(cudaFree(sink));
    return 2 * count * 16 / ms / 1e6;
  }

  void print_ceiling() {
    make_layers();
    std::printf("read ceiling %.0f GB/s\n", ceiling());
  }

  void table() {
    make_layers();
    ceiling_ = ceiling();
    std::printf("read ceiling %.0f GB/s\n", ceiling_);
    std::printf(
        "| B | experts | MB a layer | us a layer, plain graph | share | us, dependent launch |"
        " share |\n|---|---|---|---|---|---|---|\n");
    for (int tokens : {1, 2, 4, 8, 16, 32, 64, 128, 256}) {
      set_up(tokens);
      const double plain = step_us(tokens, false);
      const double dependent = step_us(tokens, true);
      double experts = 0;
      const double bytes = step_bytes(tokens, experts);
      std::printf("| %d | %.2f | %.0f | %.1f | %.1f%% | %.1f | %.1f%% |\n", tokens, experts,
                  bytes / 1e6, plain, share(bytes, plain), dependent, share(bytes, dependent));
      std::fflush(stdout);
    }
    std::printf("read ceiling again %.0f GB/s\n", ceiling());
  }

  void stages() {
    make_layers();
    if (ceiling_ == 0) ceiling_ = ceiling();
    std::printf("stages alone, dependent launch, us (share of the ceiling)\n");
    std::printf(
        "| B | qkv | attention | output | gate_up | down | lm_head |\n|---|---|---|---|---|---|"
        "---|\n");
    for (int tokens : {1, 2, 4, 8, 16, 64, 256}) {
      set_up(tokens);
      step_us(tokens, true);  // leaves every array as a stage needs it
      double experts = 0;
      step_bytes(tokens, experts, 1);
      const double d = mixtral_.hidden, i = mixtral_.intermediate;
      const double each = element_bytes();
      const double bytes[6] = {each * mixtral_.qkv_width() * d,
                               cache_bytes(tokens, kContext),
                               each * d * d,
                               each * 2 * d * i * experts,
                               each * d * i * experts,
                               2.0 * mixtral_.vocabulary * d};
      std::printf("| %d |", tokens);
      for (int stage = 0; stage < 6; stage++) {
        const double us = stage_us(tokens, stage, tuning_for(tokens));
        std::printf(" %.1f (%.0f%%) |", us, share(bytes[stage], us));
      }
      std::printf("\n");
    }
    std::printf("kernels above 8 tokens, us:");
    struct Named {
      const char* name;
      const void* kernel;
      int stage;
    };
    const auto of = [](auto* kernel) { return reinterpret_cast<const void*>(kernel); };
    for (int tokens : {16, 64, 128, 256}) {
      set_up(tokens);
      step_us(tokens, true);
      std::printf("\n  B=%d", tokens);
      for (const Named& n : {Named{"norm", of(decode_norm_tiles_bf16), 0},
                             {"qkv gemm", parts_gemm(), 0},
                             {"qkv parts", of(decode_qkv_parts_bf16), 0},
                             {"output gemm", parts_gemm(), 2},
                             {"add", of(decode_add_parts_f32), 2},
                             {"route", of(decode_route_bf16), 3},
                             {"plan", of(decode_plan_tiles_bf16), 3},
                             {"gate_up gemm", swiglu_gemm(), 3},
                             {"down gemm", parts_gemm(), 4},
                             {"combine", of(decode_combine_parts_f32), 4}}) {
        only_ = n.kernel;
        std::printf("  %s %.1f", n.name, stage_us(tokens, n.stage, tuning_for(tokens)));
        only_ = nullptr;
      }
    }
    std::printf("\n");
  }

  void attention() {
    make_layers();
    if (ceiling_ == 0) ceiling_ = ceiling();
    std::printf("attention alone, dependent launch\n| B | context | us | share |\n|---|---|---|---|\n");
    for (int tokens : {1, 8, 64}) {
      for (int context : {kContext, kLongContext}) {
        set_up(tokens, context);
        step_us(tokens, true);
        const double us = stage_us(tokens, 1, tuning_for(tokens));
        std::printf("| %d | %d | %.1f | %.0f%% |\n", tokens, context, us,
                    share(cache_bytes(tokens, context), us));
      }
    }
  }

 private:
  void report(const Checks& checks, const char* name) {
    std::printf("checked %s: %d done, %d failed, worst %.2e\n", name, checks.done, checks.failed,
                checks.worst);
    std::fflush(stdout);
  }

  void set_up(int tokens, int context = kContext) {
    std::mt19937 random(tokens);
    set_sequences(mixtral_, arrays_, std::vector<int>(tokens, context),
                  std::vector<bool>(tokens, false), blocks_, random);
    const size_t count = static_cast<size_t>(tokens) * mixtral_.hidden;
    if (start_ == nullptr) {
      start_ = device<float>(static_cast<size_t>(kMaxTokens) * mixtral_.hidden);
      fill_f32<<<512, 256>>>(start_, static_cast<size_t>(kMaxTokens) * mixtral_.hidden, 4242, 1.0f);
      ids_ = device<int>(kLayersOfStep * kMaxTokens * mixtral_.per_token);
    }
    CHECK(cudaMemcpy(arrays_.residual, start_, count * 4, cudaMemcpyDeviceToDevice));
    prepare(mixtral_, tuning_for(tokens).carve_out);
  }

  double step_us(int tokens, bool dependent) {
    const Tuning tuning = tuning_for(tokens);
    Launcher launch(stream_, processors_);
    launch.dependent = dependent;
    LayerStep step(mixtral_, tuning, launch, tokens);
    const cudaGraphExec_t exec = capture(launch, [&] {
      for (int i = 0; i < kLayersOfStep; i++) {
        StepArrays a = arrays_;
        a.expert_ids = ids_ + i * kMaxTokens * mixtral_.per_token;
        step.layer(layers_[i % kLayers], a);
      }
    });
    const double ms = time_ms(stream_, kRuns, [&](cudaEvent_t start, cudaEvent_t stop) {
      CHECK(cudaMemcpyAsync(arrays_.residual, start_, 4ull * tokens * mixtral_.hidden,
                            cudaMemcpyDeviceToDevice, stream_));
      CHECK(cudaEventRecord(start, stream_));
      CHECK(cudaGraphLaunch(exec, stream_));
      CHECK(cudaEventRecord(stop, stream_));
    });
    CHECK(cudaGraphExecDestroy(exec));
    return ms * 1000 / kLayersOfStep;
  }

  // Of a weight, with its share of the scales.
  double element_bytes() const {
    const double scale = mixtral_.format == Format::kMxFp8 ? 1.0 / kMxColumns : 0.0;
    return mixtral_.format == Format::kBf16 ? 2.0 : 1.0 + scale;
  }

  // Mean bytes a layer of the last step; `experts` receives the mean number of experts chosen.
  double step_bytes(int tokens, double& experts, int layers = kLayersOfStep) {
    experts = 0;
    for (int i = 0; i < layers; i++) {
      unsigned chosen = 0;
      for (int id : host(ids_ + i * kMaxTokens * mixtral_.per_token, tokens * mixtral_.per_token)) {
        chosen |= 1u << id;
      }
      experts += __builtin_popcount(chosen);
    }
    experts /= layers;
    const double d = mixtral_.hidden;
    return element_bytes() * (mixtral_.qkv_width() * d + d * mixtral_.context_width() +
                              3 * d * mixtral_.intermediate * experts) +
           2.0 * mixtral_.experts * d +
           cache_bytes(tokens, kContext);
  }

  // A stage alone, over all layers' weights in turn, on what the last step left.
  double stage_us(int tokens, int stage, const Tuning& tuning) {
    Launcher launch(stream_, processors_);
    launch.dependent = true;
    launch.only = only_;
    LayerStep step(mixtral_, tuning, launch, tokens);
    StepArrays a = arrays_;
    a.expert_ids = ids_;
    const cudaGraphExec_t exec = capture(launch, [&] {
      for (int i = 0; i < kLayersOfStep; i++) {
        const LayerWeights& w = layers_[i % kLayers];
        switch (stage) {
          case 0:
            step.qkv(w, a);
            break;
          case 1:
            step.attention(w, a);
            break;
          case 2:
            step.output(w, a);
            break;
          case 3:
            step.gate_up(w, a);
            break;
          case 4:
            step.down(w, a);
            break;
          default:
            step.lm_head(w, lm_head_, a);
            break;
        }
      }
    });
    const double ms = time_ms(stream_, 9, [&](cudaEvent_t start, cudaEvent_t stop) {
      CHECK(cudaMemcpyAsync(arrays_.residual, start_, 4ull * tokens * mixtral_.hidden,
                            cudaMemcpyDeviceToDevice, stream_));
      CHECK(cudaEventRecord(start, stream_));
      CHECK(cudaGraphLaunch(exec, stream_));
      CHECK(cudaEventRecord(stop, stream_));
    });
    CHECK(cudaGraphExecDestroy(exec));
    return ms * 1000 / kLayersOfStep;
  }

  const void* parts_gemm() const {
    return mixtral_.format == Format::kBf16  ? reinterpret_cast<const void*>(decode_gemm_parts_bf16)
           : mixtral_.format == Format::kFp8 ? reinterpret_cast<const void*>(decode_gemm_parts_fp8)
                                             : reinterpret_cast<const void*>(decode_gemm_parts_mxfp8);
  }
  const void* swiglu_gemm() const {
    return mixtral_.format == Format::kBf16 ? reinterpret_cast<const void*>(decode_gemm_swiglu_bf16)
           : mixtral_.format == Format::kFp8
               ? reinterpret_cast<const void*>(decode_gemm_swiglu_fp8)
               : reinterpret_cast<const void*>(decode_gemm_swiglu_mxfp8);
  }

  // Keys and values in bf16.
  double cache_bytes(int tokens, int context) const {
    return 2.0 * 2 * tokens * context * mixtral_.kv_heads * mixtral_.head_dim;
  }

  double share(double bytes, double us) const { return bytes / us / 1e3 / ceiling_ * 100; }

  Shape mixtral_ = mixtral_shape();
  Shape odd_ = odd_shape();
  int processors_;
  cudaStream_t stream_;
  int blocks_;
  std::vector<LayerWeights> layers_;
  StepArrays arrays_;
  Bf16* lm_head_;
  float* start_ = nullptr;
  int* ids_ = nullptr;
  double ceiling_ = 0;
  const void* only_ = nullptr;
};

}  // namespace

int main(int argc, char** argv) {
  const auto said = [&](const char* word) {
    for (int i = 1; i < argc; i++) {
      if (std::string(argv[i]) == word) return true;
    }
    return false;
  };
  const Format format = said("mxfp8") ? Format::kMxFp8 : said("fp8") ? Format::kFp8 : Format::kBf16;
  const bool all = argc == (format == Format::kBf16 ? 1 : 2);
  const auto asked = [&](const char* word) { return all || said(word); };
  Bench bench(format);
  int failed = asked("odd") ? bench.check_odd() : 0;
  failed += asked("check") ? bench.check() : 0;
  if (asked("ceiling")) bench.print_ceiling();
  if (asked("stages")) bench.stages();
  if (asked("attention")) bench.attention();
  if (asked("table")) bench.table();
  return failed == 0 ? 0 : 1;
}
