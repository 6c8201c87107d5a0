// Whether the kernels for few tokens and those for many give a row the same bits, kernel by kernel,
// and what it costs to keep K whole: `DIR/invariance_bench`. The shape is Mixtral-8x7B's.
//
//   products    K whole in decode_gemm.cu, by tiles and by halves of them, against matmul_wgmma.cu
//               and expert_gemm.cu at 600 rows
//   attention   chunks and single tokens against the whole, with and without a window, rows and tile,
//               runs one after the other and side by side
//   rows        decode_rows.cu against rms_norm.cu and rope_and_cache_kv.cu
#include <cstring>
#include <string>

#include "attention_tiles.cuh"
#include "kv_layout.cuh"
#include "prefill_kernels.cuh"

extern "C" {
__global__ void decode_gemm_parts_bf16(float*, const char*, const bf16*, const GroupPlan*, int, int,
                                       int, int, int, int, int, int, int);
__global__ void decode_gemm_parts_half_bf16(float*, const char*, const bf16*, const GroupPlan*, int,
                                            int, int, int, int, int, int, int, int);
__global__ void decode_gemm_swiglu_bf16(bf16*, const char*, const bf16*, const GroupPlan*, int, int,
                                        int, int);
__global__ void decode_gemm_swiglu_half_bf16(bf16*, const char*, const bf16*, const GroupPlan*, int,
                                             int, int, int);
__global__ void decode_norm_tiles_bf16(bf16*, const float*, const int*, const float*, float, int,
                                       int);
__global__ void decode_qkv_parts_bf16(bf16*, bf16*, bf16*, const float*, const float*, const int*,
                                      const int*, int, int, int, int, int, int, int, int, int);
__global__ void paged_attention_runs_bf16_d128(bf16*, const bf16*, const bf16*, const bf16*,
                                               const int*, const int*, const int*, int*, int, int,
                                               int, int, int, int, float, int, float*, int*, int,
                                               int);
__global__ void rms_norm_bf16(bf16*, const float*, const float*, float, int);
__global__ void rope_and_cache_kv_bf16(bf16*, bf16*, bf16*, const float*, const int*, const int*,
                                       int, int, int, int);
}

namespace {

constexpr int kMany = 600;  // rows: the kernels of prefill take them
constexpr int kHidden = 4096;
constexpr int kIntermediate = 14336;
constexpr int kHeads = 32;
constexpr int kKvHeads = 8;
constexpr int kWidth = (kHeads + 2 * kKvHeads) * 128;
constexpr int kBlock = 64;
constexpr float kEps = 1e-5f;
constexpr int kMaxShared = 231424;

// DecodeGemm.sharedBytes
int decode_shared(int tokens) {
  const int rows = std::min(64, ceil_div(tokens, kTileRowStep) * kTileRowStep);
  return 2048 + rows * kRowBytes + 8 * (kTileBytes + rows * kRowBytes);
}

template <class T>
bool same_rows(const std::vector<T>& got, const std::vector<T>& want, size_t width, int rows,
               int first = 0) {
  return std::memcmp(got.data(), want.data() + first * width, rows * width * sizeof(T)) == 0;
}

// Rows of token tiles, one after the other.
std::vector<bf16> untile(const std::vector<bf16>& tiles, int rows, int max_tile_rows, int k) {
  const GroupPlan plan = plan_group(0, rows, max_tile_rows);
  std::vector<bf16> to(static_cast<size_t>(rows) * k);
  for (int r = 0; r < rows; r++) {
    const int in_tile = r % plan.tile_rows;
    const size_t start = static_cast<size_t>(r - in_tile) * k;
    for (int c = 0; c < k; c++) {
      to[static_cast<size_t>(r) * k + c] =
          tiles[start + static_cast<size_t>(c / kTileK) * plan.tile_rows * kTileK +
                swizzled_element(in_tile, c % kTileK)];
    }
  }
  return to;
}

// A product of few rows with K whole, by tiles or by halves of them.
void multiply_few(float* out, const bf16* weights, const bf16* tiles, int rows, int n, int k,
                  bool halves) {
  const int shared = decode_shared(rows);
  const int tile_rows = ceil_div(rows, kTileRowStep) * kTileRowStep;
  const int k_tiles = ceil_div(k, kTileK);
  const auto kernel = halves ? decode_gemm_parts_half_bf16 : decode_gemm_parts_bf16;
  kernel<<<multiprocessors(), halves ? 192 : 320, shared>>>(
      out, bytes_of(weights), tiles, nullptr, 1, tile_rows, rows, ceil_div(n, kTileRows), k_tiles,
      k_tiles, rows, n, shared);
}

void gate_up_few(bf16* out, const bf16* weights, const bf16* tiles, const GroupPlan* plan,
                 int experts, int rows, bool halves) {
  const int shared = decode_shared(rows);
  const auto kernel = halves ? decode_gemm_swiglu_half_bf16 : decode_gemm_swiglu_bf16;
  kernel<<<multiprocessors(), halves ? 192 : 320, shared>>>(
      out, bytes_of(weights), tiles, plan, experts, kIntermediate / kTileK, kHidden / kTileK,
      shared);
}

void down_few(float* out, const bf16* weights, const bf16* tiles, const GroupPlan* plan,
              int experts, int rows, int part_rows, bool halves) {
  const int shared = decode_shared(rows);
  const int k_tiles = kIntermediate / kTileK;
  const auto kernel = halves ? decode_gemm_parts_half_bf16 : decode_gemm_parts_bf16;
  kernel<<<multiprocessors(), halves ? 192 : 320, shared>>>(
      out, bytes_of(weights), tiles, plan, experts, 0, 0, kHidden / kTileRows, k_tiles, k_tiles,
      part_rows, kHidden, shared);
}

std::string named(const char* what, int rows, bool halves) {
  return std::string(what) + ", " + std::to_string(rows) + " rows, " +
         (halves ? "halves" : "tiles");
}

constexpr int kFew[] = {1, 8, 9, 16, 17, 64, 100, 255, 256};

void check_projection(const bf16* weights, int n) {
  Buffer<bf16> x(static_cast<size_t>(kMany) * kHidden);
  fill_random(x, 11, 1.0f);
  Buffer<float> many(static_cast<size_t>(kMany) * n), few(static_cast<size_t>(256) * n);
  const Projection large{kMany, n, kHidden};
  large.tile(x.get());
  large.multiply(many.get(), weights);
  const std::vector<float> want = many.download();
  for (const int rows : kFew) {
    const int first = kMany - rows;  // other places than in the large batch
    Buffer<bf16> tiles(static_cast<size_t>(256) * kHidden);
    tile_rows_bf16<<<dim3(ceil_div(rows + 16, 8), kHidden / kTileK / 8), 256>>>(
        tiles.get(), x.get() + static_cast<size_t>(first) * kHidden, rows, kHidden, 256);
    for (const bool halves : {false, true}) {
      few.poison();
      multiply_few(few.get(), weights, tiles.get(), rows, n, kHidden, halves);
      report_equal(named("projection", rows, halves).c_str(),
                   same_rows(few.download(), want, n, rows, first));
    }
  }
}

// One expert with all rows, by the kernels of prefill and of decode.
void check_experts(const bf16* gate_up, const bf16* down) {
  const MoeLayer large{kMany, 1, 1, kHidden, kIntermediate};
  Buffer<bf16> x(static_cast<size_t>(kMany) * kHidden);
  fill_random(x, 12, 1.0f);
  Buffer<int> ids(kMany);
  ids.zero();
  large.poison();
  large.make_plan(ids.get());
  large.gather(x.get());
  large.gate_up(gate_up);
  large.down(down);
  const std::vector<bf16> want_inner =
      untile(large.inner.download(), kMany, kMaxTileRows, kIntermediate);
  const std::vector<float> want = large.rows.download();
  for (const int rows : kFew) {
    const int first = kMany - rows;
    const MoeLayer small{rows, 1, 1, kHidden, kIntermediate};
    small.make_plan(ids.get());
    small.gather(x.get() + static_cast<size_t>(first) * kHidden);
    for (const bool halves : {false, true}) {
      if (halves && rows > 16) {
        continue;
      }
      small.inner.poison(), small.rows.poison();
      gate_up_few(small.inner.get(), gate_up, small.tiles.get(), small.plan.get(), 1, rows, halves);
      const std::vector<bf16> inner =
          untile(small.inner.download(), rows, kMaxTileRows, kIntermediate);
      report_equal(named("gate_up", rows, halves).c_str(),
                   same_rows(inner, want_inner, kIntermediate, rows, first));
      down_few(small.rows.get(), down, small.inner.get(), small.plan.get(), 1, rows,
               small.capacity, halves);
      report_equal(named("down", rows, halves).c_str(),
                   same_rows(small.rows.download(), want, kHidden, rows, first));
    }
  }
}

// One sequence; its keys and values lie in the cache from the start.
struct Sequence {
  int length, window;
  int max_runs = ceil_div(length, kRunKeys);
  Buffer<float> states{std::max<size_t>(multiprocessors() * 128, 16 * kHeads * max_runs) * 130};
  Buffer<int> counters{16 * kKvHeads * 4};
  Buffer<bf16> qkv{static_cast<size_t>(length) * kWidth};
  Buffer<bf16> keys{ceil_div(length, kBlock) * kKvHeads * kv_block_elements(kBlock, 128)};
  Buffer<bf16> values{keys.count()};
  Buffer<int> work{2};

  Sequence(int length, int window) : length(length), window(window) {
    fill_random(qkv, 13, 2.0f);  // scores with a deviation of 4: the maximum changes often
    fill_random(keys, 14, 2.0f);
    fill_random(values, 15, 1.0f);
    work.zero(), counters.zero(), states.poison();
  }

  // Tokens first to first + count - 1 to rows, or to a tile of tile_rows.
  void attend(bf16* out, int first, int count, int tile_rows, bool splits) const {
    AttentionBatch batch{kHeads, kKvHeads, kBlock, window};
    batch.add(count, first + count);
    const Buffer<int> tables(batch.max_blocks), cu(2), lens(1);
    std::vector<int> table(batch.max_blocks);
    for (int i = 0; i < batch.max_blocks; i++) table[i] = i;
    tables.upload(table), cu.upload(batch.cu_seq_lens), lens.upload(batch.context_lens);
    paged_attention_runs_bf16_d128<<<multiprocessors(), 384, kAttentionShared>>>(
        out, qkv.get() + static_cast<size_t>(first) * kWidth, keys.get(), values.get(),
        tables.get(), cu.get(), lens.get(), work.get(), 1, kHeads, kKvHeads, kBlock,
        batch.max_blocks, window, 0.08838834764f, tile_rows, states.get(), counters.get(),
        max_runs, splits);
    CUDA_CHECK(cudaDeviceSynchronize());
  }
};

void check_attention(int window) {
  constexpr int kContext = kHeads * 128;
  constexpr int kLength = 2600;
  const Sequence sequence(kLength, window);
  Buffer<bf16> whole(static_cast<size_t>(kLength) * kContext);
  whole.poison();
  sequence.attend(whole.get(), 0, kLength, 0, false);
  const std::vector<bf16> want = whole.download();
  bool chunks = true, decodes = true;
  for (int first = 0; first < kLength; first += 1 + first % 5) {
    const int count = std::min(first % 70 + 1, kLength - first);
    const Buffer<bf16> rows(static_cast<size_t>(count) * kContext), tile(16 * kContext);
    rows.poison(), tile.poison();
    sequence.attend(rows.get(), first, count, 0, count <= 16 && first % 2 == 0);
    chunks = chunks && same_rows(rows.download(), want, kContext, count, first);
    sequence.attend(tile.get(), first, 1, 16, first % 3 != 0);
    decodes = decodes && same_rows(untile(tile.download(), 1, 16, kContext), want, kContext, 1,
                                   first);
  }
  const std::string with = ", window " + std::to_string(window);
  report_equal(("attention in chunks" + with).c_str(), chunks);
  report_equal(("attention of single tokens, as a tile" + with).c_str(), decodes);
}

void check_rows() {
  constexpr int kRows = 100;
  Buffer<bf16> random(static_cast<size_t>(kRows) * kWidth), gains(kHidden);
  fill_random(random, 16, 1.0f), fill_random(gains, 17, 1.0f);
  const std::vector<bf16> values = random.download(), gain_values = gains.download();
  std::vector<float> wide(values.size());
  for (size_t i = 0; i < wide.size(); i++) {
    wide[i] = static_cast<float>(values[i]) * 1.00123f;  // more bits than bf16 has
  }
  Buffer<float> x(wide.size()), gain(kHidden);
  x.upload(wide);
  gain.upload(std::vector<float>(gain_values.begin(), gain_values.end()));
  Buffer<bf16> rows(static_cast<size_t>(kRows) * kHidden), tile(static_cast<size_t>(112) * kHidden);
  rows.poison(), tile.poison();
  rms_norm_bf16<<<kRows, 256>>>(rows.get(), x.get(), gain.get(), kEps, kHidden);
  decode_norm_tiles_bf16<<<kRows, 256>>>(tile.get(), x.get(), nullptr, gain.get(), kEps, kHidden,
                                         112);
  report_equal("norm", same_rows(untile(tile.download(), kRows, 256, kHidden), rows.download(),
                                 kHidden, kRows));
  std::vector<bf16> sums(wide.size());
  for (size_t i = 0; i < sums.size(); i++) sums[i] = __float2bfloat16(wide[i]);
  std::vector<float> table(static_cast<size_t>(kRows) * 128);
  std::vector<int> positions(kRows);
  for (int p = 0; p < kRows; p++) {
    positions[p] = p;
    for (int i = 0; i < 64; i++) {
      const float angle = p * powf(1e6f, -i / 64.0f);
      table[p * 128 + i] = cosf(angle), table[p * 128 + 64 + i] = sinf(angle);
    }
  }
  Buffer<bf16> qkv(sums.size()), queries(sums.size());
  Buffer<bf16> keys(2 * kKvHeads * kv_block_elements(kBlock, 128)), values_of(keys.count());
  Buffer<bf16> few_keys(keys.count()), few_values(keys.count());
  Buffer<float> angles(table.size());
  Buffer<int> at(kRows);
  qkv.upload(sums), angles.upload(table), at.upload(positions);
  keys.zero(), values_of.zero(), few_keys.zero(), few_values.zero();
  queries.upload(sums);
  rope_and_cache_kv_bf16<<<kRows, 256>>>(qkv.get(), keys.get(), values_of.get(), angles.get(),
                                         at.get(), at.get(), kHeads, kKvHeads, 128, kBlock);
  decode_qkv_parts_bf16<<<dim3(ceil_div(kWidth / 8, 256), kRows), 256>>>(
      queries.get(), few_keys.get(), few_values.get(), x.get(), angles.get(), at.get(), at.get(),
      kWidth, kRows, kHeads, kKvHeads, 128, kBlock, kHidden / kTileK, kHidden / kTileK, 1);
  const std::vector<bf16> want = qkv.download(), got = queries.download();
  bool equal = true;
  for (int r = 0; r < kRows; r++) {
    equal = equal && std::memcmp(&got[static_cast<size_t>(r) * kWidth],
                                 &want[static_cast<size_t>(r) * kWidth], kHeads * 128 * 2) == 0;
  }
  report_equal("turned queries", equal);
  const size_t cache = keys.count();
  report_equal("cached keys and values", same_rows(few_keys.download(), keys.download(), cache, 1) &&
                                             same_rows(few_values.download(), values_of.download(),
                                                       cache, 1));
}

// ---- times --------------------------------------------------------------------------------------

// Weights in turn out of a buffer much larger than the second-level cache.
void time_products(const Buffer<bf16>& big) {
  Buffer<bf16> tiles(static_cast<size_t>(512) * kIntermediate);
  fill_random(tiles, 18, 1.0f);
  Buffer<float> out(static_cast<size_t>(512) * 8192);
  Buffer<bf16> inner(static_cast<size_t>(512) * kIntermediate);
  std::printf("\nus, launch included        | tiles | halves\n");
  size_t at = 0;
  const auto next = [&](size_t elements) {
    at = at + 2 * elements > big.count() ? 0 : at + elements;
    return big.get() + at;
  };
  const auto line = [&](const char* what, int rows, const std::function<void(bool)>& work) {
    const std::vector<double> ms =
        median_ms({[&] { work(false); }, [&] { work(true); }}, 21);
    std::printf("%-14s %3d tokens | %7.1f | %7.1f\n", what, rows, 1e3 * ms[0], 1e3 * ms[1]);
  };
  for (const int rows : {1, 8, 16, 64, 256}) {
    for (const int n : {kWidth, kHidden}) {
      line(n == kWidth ? "qkv" : "output", rows, [&](bool halves) {
        multiply_few(out.get(), next(static_cast<size_t>(n) * kHidden), tiles.get(), rows, n,
                     kHidden, halves);
      });
    }
  }
  for (const int chosen : {2, 7, 8}) {
    std::vector<GroupPlan> plans;
    for (int e = 0; e < 8; e++) {
      plans.push_back(e < chosen ? GroupPlan{16 * e, 1, 16, 1} : GroupPlan{16 * chosen, 0, 0, 0});
    }
    const Buffer<GroupPlan> plan(plans.size());
    plan.upload(plans);
    const size_t expert = static_cast<size_t>(kIntermediate) * kHidden;
    line("gate_up", chosen, [&](bool halves) {
      gate_up_few(inner.get(), next(16 * expert), tiles.get(), plan.get(), 8, 8, halves);
    });
    line("down", chosen, [&](bool halves) {
      down_few(out.get(), next(8 * expert), tiles.get(), plan.get(), 8, 8, 512, halves);
    });
  }
}

void time_attention() {
  std::printf("\nus, one token over     | keys | in runs, side by side\n");
  for (const int length : {1024, 4096, 16384}) {
    const Sequence sequence(length, 0);
    const Buffer<bf16> out(16 * kHeads * 128);
    const Buffer<int> tables(ceil_div(length, kBlock)), cu(2), lens(1);
    std::vector<int> table(tables.count());
    for (size_t i = 0; i < table.size(); i++) table[i] = i;
    tables.upload(table), cu.upload({0, 1}), lens.upload({length});
    const auto work = [&] {
      paged_attention_prefill_bf16_d128<<<multiprocessors(), 384, kAttentionShared>>>(
          out.get(), sequence.qkv.get(), sequence.keys.get(), sequence.values.get(), tables.get(),
          cu.get(), lens.get(), sequence.work.get(), 1, kHeads, kKvHeads, kBlock,
          static_cast<int>(table.size()), 0, 0.08838834764f, 16);
    };
    const auto runs = [&] {
      paged_attention_runs_bf16_d128<<<multiprocessors(), 384, kAttentionShared>>>(
          out.get(), sequence.qkv.get(), sequence.keys.get(), sequence.values.get(), tables.get(),
          cu.get(), lens.get(), sequence.work.get(), 1, kHeads, kKvHeads, kBlock,
          static_cast<int>(table.size()), 0, 0.08838834764f, 16, sequence.states.get(),
          sequence.counters.get(), sequence.max_runs, 1);
    };
    const std::vector<double> ms = median_ms({work, runs}, 21);
    std::printf("%22d | %7.1f | %7.1f\n", length, 1e3 * ms[0], 1e3 * ms[1]);
  }
}

}  // namespace

int main() {
  allow_shared_everywhere();
  allow_shared(paged_attention_runs_bf16_d128, kAttentionShared);
  for (const auto kernel : {decode_gemm_parts_bf16, decode_gemm_parts_half_bf16}) {
    allow_shared(kernel, kMaxShared);
  }
  for (const auto kernel : {decode_gemm_swiglu_bf16, decode_gemm_swiglu_half_bf16}) {
    allow_shared(kernel, kMaxShared);
  }
  // Weights in any order are random weights: tiles need not be made of rows.
  const size_t expert = static_cast<size_t>(kIntermediate) * kHidden;
  const Buffer<bf16> weights(3 * 16 * expert);
  fill_random(weights, 10, 0.02f);
  check_rows();
  check_attention(0);
  check_attention(150);
  check_projection(weights.get(), kWidth);
  check_projection(weights.get(), kHidden);
  check_experts(weights.get(), weights.get() + 2 * expert);
  time_products(weights);
  time_attention();
  std::printf("%s\n", failures() == 0 ? "all equal" : "NOT EQUAL");
  return failures() == 0 ? 0 : 1;
}
