// Every prefill kernel against plain loops on fresh random data: odd sizes, one token, empty
// experts, all tokens on one expert, ragged and chunked sequences. Outputs are poisoned first.

#include <numeric>
#include <random>
#include <string>

#include "prefill_check.cuh"
#include "reference.cuh"

namespace {

constexpr double kBf16Limit = 4e-3;  // of ||difference|| / ||reference||; rounding alone is 1.7e-3
constexpr double kF32Limit = 1e-5;

void check_plan(const MoeLayer& layer, const std::vector<int>& ids, const std::string& name) {
  const std::vector<int> pair_row = layer.pair_row.download();
  const std::vector<int> row_pair = layer.row_pair.download();
  const std::vector<GroupPlan> plan = layer.plan.download();
  std::vector<int> want_pair_row(ids.size()), want_row_pair;
  bool plans_equal = true;
  for (int e = 0; e < layer.experts; e++) {
    const int rows = std::count(ids.begin(), ids.end(), e);
    const GroupPlan group = plan_group(want_row_pair.size(), rows, kMaxTileRows);
    plans_equal &= plan[e].first_row == group.first_row && plan[e].rows == rows &&
                   plan[e].tiles == group.tiles && plan[e].tile_rows == group.tile_rows;
    for (size_t pair = 0; pair < ids.size(); pair++) {
      if (ids[pair] == e) {
        want_pair_row[pair] = want_row_pair.size();
        want_row_pair.push_back(pair);
      }
    }
    want_row_pair.resize(group.first_row + group.tiles * group.tile_rows, -1);
  }
  plans_equal &= plan[layer.experts].first_row == static_cast<int>(want_row_pair.size());
  plans_equal &= want_row_pair.size() <= row_pair.size();
  plans_equal &= std::equal(want_row_pair.begin(), want_row_pair.end(), row_pair.begin());
  const auto tile_rows = [&](int turn) {
    return plan[plan_order(const_cast<GroupPlan*>(plan.data()), layer.experts)[turn]].tile_rows;
  };
  for (int turn = 1; turn < layer.experts; turn++) {
    plans_equal &= tile_rows(turn - 1) >= tile_rows(turn);
  }
  report_equal((name + " plan is the stable sort").c_str(),
               plans_equal && want_pair_row == pair_row);
}

void check_moe(int tokens, int hidden, int intermediate, int experts, int slots, Routing routing,
               uint64_t seed) {
  const std::string name = "moe T" + std::to_string(tokens) + " D" + std::to_string(hidden) + " I" +
                           std::to_string(intermediate) + " E" + std::to_string(experts) + " K" +
                           std::to_string(slots);
  const MoeLayer layer{tokens, experts, slots, hidden, intermediate};
  const std::vector<int> ids = route(routing, tokens, experts, slots, seed);
  Buffer<int> expert_ids(ids.size());
  expert_ids.upload(ids);
  std::vector<float> weight_values(ids.size());
  for (size_t i = 0; i < ids.size(); i++) {
    weight_values[i] = (i % slots + 1.0f) / (slots * (slots + 1) / 2);
  }
  Buffer<float> expert_weights(ids.size());
  expert_weights.upload(weight_values);
  Buffer<bf16> x(static_cast<size_t>(tokens) * hidden);
  Buffer<bf16> gate_up(static_cast<size_t>(experts) * 2 * intermediate * hidden);
  Buffer<bf16> down(static_cast<size_t>(experts) * hidden * intermediate);
  fill_random(x, seed + 1, 1.0f);
  fill_random(gate_up, seed + 2, 1.0f / std::sqrt(hidden));
  fill_random(down, seed + 3, 1.0f / std::sqrt(intermediate));
  Buffer<bf16> gate_up_tiles(layer.gate_up_elements()), down_tiles(layer.down_elements());
  gate_up_tiles.poison(), down_tiles.poison(), layer.poison();
  tile_gate_up(gate_up_tiles.get(), gate_up.get(), experts, intermediate, hidden);
  tile_weight(down_tiles.get(), down.get(), experts, hidden, intermediate);
  Buffer<bf16> out(x.count());
  std::vector<bf16> outputs[2];
  for (auto& output : outputs) {
    layer.poison(), out.poison();
    layer.make_plan(expert_ids.get());
    layer.gather(x.get());
    layer.gate_up(gate_up_tiles.get());
    layer.down(down_tiles.get());
    layer.combine(out.get(), expert_weights.get());
    CUDA_CHECK(cudaDeviceSynchronize());
    output = out.download();
  }
  check_plan(layer, ids, name);
  report_equal(
      (name + " twice the same bits").c_str(),
      std::equal(outputs[0].begin(), outputs[0].end(), outputs[1].begin(), [](bf16 a, bf16 b) {
        return __bfloat16_as_ushort(a) == __bfloat16_as_ushort(b);
      }));
  const size_t inner_count = ids.size() * intermediate;
  const size_t row_count = ids.size() * hidden;
  Buffer<float> want(std::max(inner_count, row_count)), got(want.count());
  const auto compare = [&](const char* what, size_t count) {
    std::vector<float> w = want.download(), g = got.download();
    w.resize(count), g.resize(count);
    report_agreement((name + what).c_str(), g, w, kBf16Limit);
    got.poison();
  };
  reference_down<<<warps_grid(row_count), 256>>>(
      want.get(), got.get(), layer.rows.get(), layer.inner.get(), down.get(), expert_ids.get(),
      layer.plan.get(), layer.pair_row.get(), layer.pairs, hidden, intermediate, row_count);
  compare(" down", row_count);
  reference_gate_up<<<warps_grid(inner_count), 256>>>(
      want.get(), got.get(), layer.inner.get(), x.get(), gate_up.get(), expert_ids.get(),
      layer.plan.get(), layer.pair_row.get(), layer.pairs, slots, hidden, intermediate,
      inner_count);
  compare(" gate_up", inner_count);
  Buffer<float> inner(inner_count);
  reference_gate_up<<<warps_grid(inner_count), 256>>>(
      inner.get(), got.get(), layer.inner.get(), x.get(), gate_up.get(), expert_ids.get(),
      layer.plan.get(), layer.pair_row.get(), layer.pairs, slots, hidden, intermediate,
      inner_count);
  reference_moe<<<warps_grid(x.count()), 256>>>(want.get(), got.get(), out.get(), inner.get(),
                                                down.get(), expert_ids.get(), expert_weights.get(),
                                                tokens, slots, hidden, intermediate);
  compare(" whole", x.count());
}

template <class Out>
void check_matmul(int rows, int n, int k, uint64_t seed) {
  const Projection projection{rows, n, k};
  Buffer<bf16> x(static_cast<size_t>(rows) * k), weights(static_cast<size_t>(n) * k);
  Buffer<bf16> weight_tiles(tiled_weight_elements(1, n, k));
  fill_random(x, seed, 1.0f);
  fill_random(weights, seed + 1, 1.0f / std::sqrt(k));
  Buffer<Out> out(static_cast<size_t>(rows) * n + 64);  // 64 more: nothing may be written there
  weight_tiles.poison(), out.poison(), projection.tiles.poison();
  tile_weight(weight_tiles.get(), weights.get(), 1, n, k);
  projection.tile(x.get());
  projection.multiply(out.get(), weight_tiles.get());
  const size_t count = static_cast<size_t>(rows) * n;
  Buffer<float> want(count), got(count);
  reference_matmul<<<warps_grid(count), 256>>>(want.get(), got.get(), out.get(), x.get(),
                                               weights.get(), rows, n, k, count);
  CUDA_CHECK(cudaDeviceSynchronize());
  const bool wide = sizeof(Out) == 4;
  const std::string name = "matmul " + std::to_string(rows) + " x " + std::to_string(n) + " x " +
                           std::to_string(k) + (wide ? " f32" : "");
  report_agreement(name.c_str(), got.download(), want.download(), wide ? kF32Limit : kBf16Limit);
  const std::vector<Out> all = out.download();
  bool untouched = true;
  for (size_t i = count; i < all.size(); i++) {
    untouched &= std::isnan(static_cast<float>(all[i]));
  }
  report_equal((name + " stays within its rows").c_str(), untouched);
}

void check_attention(const char* name, const AttentionBatch& batch, uint64_t seed) {
  constexpr int kDim = 128;
  const int width = (batch.heads + 2 * batch.kv_heads) * kDim;
  Buffer<bf16> qkv(static_cast<size_t>(batch.tokens()) * width);
  Buffer<bf16> out(static_cast<size_t>(batch.tokens()) * batch.heads * kDim + 64);
  const size_t cache = batch.blocks * batch.kv_heads * kv_block_elements(batch.block_size, kDim);
  Buffer<bf16> keys(cache), values(cache);
  fill_random(qkv, seed, 1.5f);
  fill_random(keys, seed + 1, 1.5f);
  fill_random(values, seed + 2, 1.0f);
  const std::vector<int> table_values = batch.block_tables();
  Buffer<int> tables(table_values.size()), starts(batch.cu_seq_lens.size());
  Buffer<int> contexts(batch.context_lens.size());
  Buffer<int> work(2);
  work.zero();
  tables.upload(table_values), starts.upload(batch.cu_seq_lens);
  contexts.upload(batch.context_lens);
  out.poison();
  attend(batch, out.get(), qkv.get(), keys.get(), values.get(), tables.get(), starts.get(),
         contexts.get(), work.get());
  CUDA_CHECK(cudaDeviceSynchronize());
  const size_t total = static_cast<size_t>(batch.tokens()) * batch.heads;
  const size_t count = std::min<size_t>(total, 8192);
  Buffer<float> want(count * kDim), got(count * kDim);
  reference_attention<<<warps_grid(count), 256>>>(
      want.get(), got.get(), out.get(), qkv.get(), keys.get(), values.get(), tables.get(),
      starts.get(), contexts.get(), batch.seqs(), batch.heads, batch.kv_heads, batch.block_size,
      batch.max_blocks, batch.window, 0.08838834764f, count);
  CUDA_CHECK(cudaDeviceSynchronize());
  report_agreement(name, got.download(), want.download(), kBf16Limit);
  report_equal((std::string(name) + " leaves its counters at zero").c_str(),
               work.download() == std::vector<int>(2, 0));
  const std::vector<bf16> all = out.download();
  bool good = true;
  for (size_t i = 0; i < all.size(); i++) {
    good &= std::isnan(static_cast<float>(all[i])) == (i >= total * kDim);
  }
  report_equal((std::string(name) + " writes every row and no more").c_str(), good);
}

void check_attentions() {
  AttentionBatch one{32, 8, 16, 0};
  one.add(1, 1);
  check_attention("attention one token", one, 1);
  AttentionBatch ragged{32, 8, 16, 0};
  for (const auto& [fresh, context] : {std::pair{5, 5},
                                       {128, 128},
                                       {1, 300},
                                       {333, 333},
                                       {77, 700},
                                       {32, 160},
                                       {31, 1031},
                                       {1, 129}}) {
    ragged.add(fresh, context);
  }
  check_attention("attention ragged, chunked, block 16", ragged, 2);
  AttentionBatch many{8, 2, 32, 0};
  for (int s = 0; s < 70; s++) {
    many.add(1 + s * 7 % 50, 60 + s * 7 % 50 + s);
  }
  check_attention("attention 70 sequences, block 32", many, 3);
  AttentionBatch window{32, 8, 64, 200};
  window.add(900, 900), window.add(130, 1000), window.add(40, 40);
  check_attention("attention window 200, block 64", window, 4);
  AttentionBatch multi_head{4, 4, 128, 0};
  multi_head.add(300, 300), multi_head.add(64, 500);
  check_attention("attention without groups, block 128", multi_head, 5);
  AttentionBatch odd_group{12, 4, 8, 130};
  odd_group.add(200, 420), odd_group.add(43, 43);
  check_attention("attention group 3, block 8, window 130", odd_group, 6);
  AttentionBatch one_kv{8, 1, 256, 0};
  one_kv.add(150, 600), one_kv.add(20, 20);
  check_attention("attention group 8, block 256", one_kv, 7);
  AttentionBatch long_one{32, 8, 16, 0};
  long_one.add(2048, 6000);
  check_attention("attention 2048 of 6000", long_one, 8);
}

}  // namespace

std::vector<int> route(Routing routing, int tokens, int experts, int slots, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<int> ids;
  std::vector<int> order(experts);
  for (int t = 0; t < tokens; t++) {
    std::iota(order.begin(), order.end(), 0);
    if (routing == Routing::kRandom) {
      std::shuffle(order.begin(), order.end(), random);
    } else if (routing == Routing::kBalanced) {
      std::rotate(order.begin(), order.begin() + static_cast<int64_t>(t) * slots % experts,
                  order.end());
    } else {
      std::rotate(order.begin(), order.end() - slots, order.end());  // the last ones take all
    }
    ids.insert(ids.end(), order.begin(), order.begin() + slots);
  }
  return ids;
}

void check_all(uint64_t seed) {
  check_moe(1, 64, 64, 8, 2, Routing::kRandom, seed);
  check_moe(37, 200, 136, 5, 2, Routing::kRandom, seed + 10);
  check_moe(300, 256, 192, 8, 2, Routing::kSkewed, seed + 20);
  check_moe(97, 203, 77, 8, 3, Routing::kRandom, seed + 30);
  check_moe(1000, 512, 448, 8, 2, Routing::kRandom, seed + 40);
  check_matmul<bf16>(1, 384, 512, seed + 50);
  check_matmul<bf16>(77, 200, 136, seed + 51);
  check_matmul<bf16>(513, 391, 83, seed + 52);
  check_matmul<bf16>(1030, 1000, 256, seed + 53);
  check_matmul<float>(9, 1000, 256, seed + 54);
  check_matmul<float>(300, 391, 512, seed + 55);
  // Every width of the token tile: rows 16, 32, ... 256.
  for (int rows = 16; rows <= 256; rows += 16) {
    check_matmul<bf16>(rows - 3, 256, 192, seed + 60 + rows);
    check_matmul<float>(rows, 256, 192, seed + 61 + rows);
    check_moe(rows / 2, 128, 128, 2, 2, Routing::kBalanced, seed + 62 + rows);
  }
  check_attentions();
  std::printf("%d checks failed\n", failures());
}
