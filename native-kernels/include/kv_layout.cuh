// The paged KV cache in bf16: blocks that the copy engine can bring to shared memory as wgmma reads
// them. Keys and values are two arrays of the same form, one pair per layer:
//   [block][kv head][panel of 64 head columns][token of the block][64 columns = 128 bytes]
// where 16-byte chunk c of a token's 128 bytes lies at chunk position c ^ (token & 7). It is the
// atom of tiled_layout.cuh with tokens as rows: K is wgmma's K-major and V its transposed operand
// from the same bytes. A (block, kv head) is one run of panels * block_size * 128 bytes, which
// decode may copy whole or read in 16-byte chunks (8 lanes = one token's panel, conflict-free).
//
// panels = ceil(head_dim / 64); columns beyond head_dim are never read. block_size is a multiple of
// 8 (16 is the default), so a panel starts on a multiple of 1,024 bytes. Any other head_dim or
// block_size uses the same formula; only the alignment of panels is lost. The arrays are zeroed
// when allocated: slots nobody wrote meet a probability of zero, and 0 * NaN would be NaN.
#pragma once

#include <stddef.h>

#include "tiled_layout.cuh"

__host__ __device__ __forceinline__ int kv_panels(int head_dim) {
  return ceil_div(head_dim, kTileK);
}

// Elements of one (block, kv head) run.
__host__ __device__ __forceinline__ size_t kv_block_elements(int block_size, int head_dim) {
  return static_cast<size_t>(kv_panels(head_dim)) * block_size * kTileK;
}

// Elements from the array's start to column `column` of `token` (0 .. block_size - 1) of a block.
// Eight columns from a multiple of eight are consecutive.
__host__ __device__ __forceinline__ size_t kv_element(int block, int kv_head, int token, int column,
                                                      int kv_heads, int block_size, int head_dim) {
  const size_t run = static_cast<size_t>(block) * kv_heads + kv_head;
  const int panel = column / kTileK;
  return run * kv_block_elements(block_size, head_dim) +
         static_cast<size_t>(panel) * block_size * kTileK +
         swizzled_element(token, column % kTileK);
}
