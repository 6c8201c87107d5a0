// The decode step's expert block of Mixtral-8x7B as a shared library: bench/peers holds it against
// PyTorch and Triton on their own weights and arrays. Launches are those of decode_layer.cuh.

#include "decode_arrays.cuh"

GREGALE_KERNEL tile_weight_bf16(Bf16*, const Bf16*, int, int);
GREGALE_KERNEL tile_gate_up_bf16(Bf16*, const Bf16*, const Bf16*, long long, int, int);
GREGALE_KERNEL tile_codes_fp8(char*, const char*, int, int);
GREGALE_KERNEL tile_gate_up_codes_fp8(char*, const char*, const char*, long long, int, int);

constexpr int kMaxTokens = 256;

// In no anonymous namespace: functions that take such a type would not be exported.
struct Experts {
  Shape shape{4096, 32, 8, 128, 8, 2, 14336, 32000, 0, 16};
  int processors = 0;
  StepArrays scratch{};
};

// Scratch for up to 256 tokens; never given back.
extern "C" Experts* experts_create(int fp8) {
  Experts* of = new Experts;
  of->shape.format = fp8 ? Format::kFp8 : Format::kBf16;
  cudaDeviceProp properties;
  CHECK(cudaGetDeviceProperties(&properties, 0));
  of->processors = properties.multiProcessorCount;
  of->scratch = make_arrays(of->shape, kMaxTokens, of->shape.block_size, 1);
  CHECK(cudaMemset(of->scratch.slots, 0, kMaxTokens * sizeof(int)));  // no token is padding
  prepare(of->shape, tuning_for(1).carve_out);
  CHECK(cudaDeviceSynchronize());
  return of;
}

// Row-major gate_up [E, 2 I, D] (gate rows first) and down [E, D, I] to tiles of as many bytes.
extern "C" void experts_tile(const Experts* of, cudaStream_t stream, const char* gate_up,
                             const char* down, char* gate_up_tiles, char* down_tiles) {
  const Shape& s = of->shape;
  const long long half = static_cast<long long>(s.intermediate) * s.hidden;
  const dim3 wide(s.weight_tiles(s.hidden), s.intermediate / (kTileRows / 2), s.experts);
  const dim3 narrow(s.weight_tiles(s.intermediate), s.hidden / kTileRows, s.experts);
  if (s.format == Format::kBf16) {
    const Bf16* gate = reinterpret_cast<const Bf16*>(gate_up);
    tile_gate_up_bf16<<<wide, 256, 0, stream>>>(reinterpret_cast<Bf16*>(gate_up_tiles), gate,
                                                gate + half, 2 * half, s.intermediate, s.hidden);
    tile_weight_bf16<<<narrow, 256, 0, stream>>>(reinterpret_cast<Bf16*>(down_tiles),
                                                 reinterpret_cast<const Bf16*>(down), s.hidden,
                                                 s.intermediate);
  } else {
    tile_gate_up_codes_fp8<<<wide, 256, 0, stream>>>(gate_up_tiles, gate_up, gate_up + half,
                                                     2 * half, s.intermediate, s.hidden);
    tile_codes_fp8<<<narrow, 256, 0, stream>>>(down_tiles, down, s.hidden, s.intermediate);
  }
  CHECK(cudaGetLastError());
}

// All scratch to NaN, or -1, so that a value nobody wrote shows.
extern "C" void experts_poison(const Experts* of, cudaStream_t stream) {
  const Shape& s = of->shape;
  const StepArrays& a = of->scratch;
  const size_t pairs = kMaxTokens * s.per_token;
  const size_t padded = max_padded_rows(pairs, s.experts, kMaxTileRows);
  const auto poison = [&](auto* to, size_t count) {
    CHECK(cudaMemsetAsync(to, 0xFF, count * sizeof(*to), stream));
  };
  poison(a.h, padded * s.intermediate);
  poison(a.normed, static_cast<size_t>(kMaxTokens) * s.hidden);
  poison(a.tiles, padded * s.hidden);
  poison(a.parts, 8 * padded * s.hidden);
  poison(a.plan, s.experts);
  poison(a.rows_of, pairs);
}

// residual [T, D] += the experts of rmsNorm(residual); expert_ids and expert_weights [T, K] receive
// the router's choice. first: the first of a chain, which waits for all that comes before; the
// others are launched dependently, as in the application. Scales are null in bf16.
extern "C" void experts_launch(const Experts* of, cudaStream_t stream, int first, int tokens,
                               float* residual, int* expert_ids, float* expert_weights,
                               Bf16* router, Bf16* gain, float* gain_f32, char* gate_up_tiles,
                               char* gate_up_scales, char* down_tiles, char* down_scales) {
  LayerWeights w{};
  w.gate_up = {gate_up_tiles, gate_up_scales};
  w.down = {down_tiles, down_scales};
  w.router = router;
  w.post_norm = gain;
  w.post_gain = gain_f32;
  StepArrays a = of->scratch;
  a.residual = residual;
  a.expert_ids = expert_ids;
  a.expert_weights = expert_weights;
  const Tuning tuning = tuning_for(tokens);
  Launcher launch(stream, of->processors);
  launch.dependent = true;
  launch.first = first != 0;
  LayerStep step(of->shape, tuning, launch, tokens);
  step.gate_up(w, a);
  step.down(w, a);
}
