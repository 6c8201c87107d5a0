"""One MoE layer in Triton, as engines in Python have it: pairs (token, expert) sorted by expert and
padded to blocks, two grouped GEMMs, SwiGLU and the weighted sum between and behind them.

The plan (sorting and padding) is made beforehand and not timed, in this peer's favour. In FP8 its products
sum all of K in the matrix unit, without leaving it every 128 columns (Triton's default on Hopper, and
vLLM's choice). vLLM quantises the layer's input inside the layer; so does this, unless told that it
comes quantised.
"""

import dataclasses

import torch
import triton
import triton.language as tl

from timing import D, E, FP8, I, K, keep_busy, median_ms, random_weight

# BLOCK_M, BLOCK_N, BLOCK_K (bf16; twice as much in FP8), GROUP_M, SPLIT, warps, stages. SPLIT: pieces of K, for
# down alone, whose tiles are few. Where an expert has several blocks of rows GROUP_M keeps them beside each
# other, so that its weights are read from memory once.
FEW_ROWS = [(16, 64, 128, 1, 1, 4, 4), (16, 128, 64, 1, 1, 4, 5), (16, 128, 128, 1, 1, 4, 4), (16, 32, 256, 1, 1, 4, 4),
            (16, 64, 256, 1, 1, 4, 3), (16, 64, 128, 1, 2, 4, 4), (16, 128, 128, 1, 4, 4, 4), (32, 128, 64, 1, 1, 4, 4),
            (32, 128, 128, 16, 1, 4, 3), (32, 64, 128, 16, 2, 4, 4), (64, 128, 64, 1, 1, 4, 4),
            (64, 128, 128, 1, 1, 4, 3), (64, 128, 64, 16, 1, 4, 4), (64, 128, 128, 16, 1, 4, 3),
            (64, 128, 128, 16, 2, 4, 3), (128, 128, 64, 16, 1, 8, 4)]
MANY_ROWS = [(64, 128, 64, 16, 1, 4, 4), (64, 256, 64, 16, 1, 8, 3), (128, 128, 64, 16, 1, 8, 4),
             (128, 256, 64, 16, 1, 8, 3), (128, 256, 64, 16, 1, 8, 4), (128, 256, 64, 1, 1, 8, 4),
             (128, 256, 64, 64, 1, 8, 4)]
MOST_FEW = 512  # routed rows


@triton.jit(do_not_specialize=["num_pairs", "num_blocks"])  # else every batch size is compiled anew
def _experts_gemm(x, weight, out, x_scales, pairs, block_experts, pair_weights, weight_scale, num_pairs, num_blocks,
                  n, k, SHARE: tl.constexpr, FP8_INPUTS: tl.constexpr, WEIGHTED: tl.constexpr, BLOCK_M: tl.constexpr,
                  BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr, GROUP_M: tl.constexpr, SPLIT: tl.constexpr):
    """out[pair, split] = x[pair / SHARE] · weight[expert of the block]ᵀ over the split's piece of K"""
    blocks_n = n // BLOCK_N
    group = tl.program_id(0) // (GROUP_M * blocks_n)
    first = group * GROUP_M
    height = min(num_blocks - first, GROUP_M)
    within = tl.program_id(0) % (GROUP_M * blocks_n)
    block_m = first + within % height
    block_n = within // height
    pair = tl.load(pairs + block_m * BLOCK_M + tl.arange(0, BLOCK_M))
    valid = pair < num_pairs
    expert = tl.load(block_experts + block_m).to(tl.int64)
    columns = block_n * BLOCK_N + tl.arange(0, BLOCK_N)
    split = tl.program_id(1)
    depth = k // SPLIT
    inner = tl.multiple_of(split * depth, BLOCK_K) + tl.arange(0, BLOCK_K)
    x_at = x + (pair // SHARE)[:, None] * k + inner[None, :]
    w_at = weight + expert * n * k + columns[None, :] * k + inner[:, None]
    total = tl.zeros((BLOCK_M, BLOCK_N), tl.float32)
    for _ in range(0, depth, BLOCK_K):
        a = tl.load(x_at, mask=valid[:, None], other=0.0)
        total = tl.dot(a, tl.load(w_at), total)
        x_at += BLOCK_K
        w_at += BLOCK_K
    if FP8_INPUTS:
        total *= tl.load(x_scales + pair // SHARE, mask=valid, other=0.0)[:, None] * weight_scale
    if WEIGHTED:
        total *= tl.load(pair_weights + pair, mask=valid, other=0.0)[:, None]
    out_at = out + (pair * SPLIT + split)[:, None] * n + columns[None, :]
    tl.store(out_at, total.to(out.dtype.element_ty), mask=valid[:, None])


@triton.jit
def _quantize(x, out, scales, width: tl.constexpr, BLOCK: tl.constexpr):
    """A row to codes and its scale, read once."""
    row = tl.program_id(0).to(tl.int64)
    i = tl.arange(0, BLOCK)
    value = tl.load(x + row * width + i, mask=i < width, other=0.0).to(tl.float32)
    largest = tl.maximum(tl.max(tl.abs(value)), 1e-12)
    tl.store(scales + row, largest / 448.0)
    tl.store(out + row * width + i, (value * (448.0 / largest)).to(out.dtype.element_ty), mask=i < width)


@triton.jit
def _swiglu(gate_up, out, scales, width, FP8_OUT: tl.constexpr, BLOCK: tl.constexpr):
    """silu(gate) · up of a row; in FP8 with a scale of the row, which costs a second pass."""
    row = tl.program_id(0).to(tl.int64)
    largest = 1e-12
    if FP8_OUT:
        peak = tl.zeros([BLOCK], tl.float32)
        for at in range(0, width, BLOCK):
            i = at + tl.arange(0, BLOCK)
            gate = tl.load(gate_up + row * 2 * width + i).to(tl.float32)
            up = tl.load(gate_up + row * 2 * width + width + i).to(tl.float32)
            peak = tl.maximum(peak, tl.abs(gate * tl.sigmoid(gate) * up))
        largest = tl.maximum(tl.max(peak), 1e-12)
        tl.store(scales + row, largest / 448.0)
    for at in range(0, width, BLOCK):
        i = at + tl.arange(0, BLOCK)
        gate = tl.load(gate_up + row * 2 * width + i).to(tl.float32)
        up = tl.load(gate_up + row * 2 * width + width + i).to(tl.float32)
        value = gate * tl.sigmoid(gate) * up
        if FP8_OUT:
            value *= 448.0 / largest
        tl.store(out + row * width + i, value.to(out.dtype.element_ty))


@dataclasses.dataclass
class Plan:
    """Pairs sorted by expert, each expert's padded to whole blocks."""

    pairs: torch.Tensor  # [blocks * BLOCK_M] int32, the number of pairs where nothing is
    block_experts: torch.Tensor  # [blocks] int32

    @staticmethod
    def of(expert_ids: torch.Tensor, block: int) -> "Plan":
        flat = expert_ids.flatten().cpu()
        pairs, experts = [], []
        for expert in range(E):
            mine = (flat == expert).nonzero().flatten().tolist()
            blocks = -(-len(mine) // block)
            pairs += mine + [flat.numel()] * (blocks * block - len(mine))
            experts += [expert] * blocks
        return Plan(torch.tensor(pairs, dtype=torch.int32).cuda(), torch.tensor(experts, dtype=torch.int32).cuda())


class MoeLayer:
    """The weights of one layer, and its best kernels for a number of tokens."""

    def __init__(self, fp8: bool):
        self.fp8 = fp8
        self.scale = 1 / 16
        self.gate_up = random_weight(E, 2 * I, D, fp8=fp8)
        self.down = random_weight(E, D, I, fp8=fp8)

    def prepare(self, tokens: int, expert_ids: torch.Tensor, x=None, weights=None):
        """Finds the fastest configurations for these tokens; returns the layer as a function, which in FP8 may
        be told that its input comes quantised.

        tokens: T. expert_ids: [T, K]. x: [T, D] bf16, random if left out. weights: [T, K] fp32, 0.5 if left out.
        """
        rows = tokens * K
        configs = FEW_ROWS if rows <= MOST_FEW else MANY_ROWS
        given = torch.randn(tokens, D, device="cuda").to(torch.bfloat16) if x is None else x
        x_scales = torch.empty(tokens, device="cuda")
        x = torch.empty(tokens, D, dtype=FP8, device="cuda") if self.fp8 else given
        weights = torch.full((rows,), 0.5, device="cuda") if weights is None else weights.flatten()
        wide = torch.empty(rows, 2 * I, dtype=torch.bfloat16, device="cuda")
        inner = torch.empty(rows, I, dtype=FP8 if self.fp8 else torch.bfloat16, device="cuda")
        inner_scales = torch.empty(rows, device="cuda")
        narrow = torch.empty(rows * max(config[4] for config in configs), D, dtype=torch.bfloat16, device="cuda")
        out = torch.full((tokens, D), float("nan"), dtype=torch.bfloat16, device="cuda")
        plans = {}

        def gemm(a, scales, weight, result, share, weighted, config):
            block_m, block_n, block_k, group, split, warps, stages = config
            if block_m not in plans:
                plans[block_m] = Plan.of(expert_ids, block_m)
            plan = plans[block_m]
            blocks = plan.block_experts.numel()
            n, k = weight.shape[1:]
            _experts_gemm[(blocks * (n // block_n), split)](
                a, weight, result, scales, plan.pairs, plan.block_experts, weights, self.scale, rows, blocks, n, k,
                SHARE=share, FP8_INPUTS=self.fp8, WEIGHTED=weighted, BLOCK_M=block_m, BLOCK_N=block_n,
                BLOCK_K=block_k * (2 if self.fp8 else 1), GROUP_M=group, SPLIT=split, num_warps=warps,
                num_stages=stages)

        def quantize():
            _quantize[(tokens,)](given, x, x_scales, D, BLOCK=D, num_warps=8)

        def gate_up(config):
            gemm(x, x_scales, self.gate_up, wide, K, False, config)

        def swiglu():
            _swiglu[(rows,)](wide, inner, inner_scales, I, FP8_OUT=self.fp8, BLOCK=2048, num_warps=8)

        def down(config):
            gemm(inner, inner_scales, self.down, narrow, 1, True, config)
            split = config[4]
            torch.sum(narrow[: rows * split].view(tokens, K * split, D), dim=1, out=out)

        def fastest(run, candidates):
            times = {}
            for config in candidates:
                try:
                    times[config] = median_ms(lambda: run(config), 5, 2, keep_busy)
                except triton.runtime.errors.OutOfResources:
                    pass
            return min(times, key=times.get)

        if self.fp8:
            quantize()
        first = fastest(gate_up, [config for config in configs if config[4] == 1])
        swiglu()
        second = fastest(down, configs)

        def layer(quantized: bool = False):
            if self.fp8 and not quantized:
                quantize()
            gate_up(first)
            swiglu()
            down(second)

        for poisoned in (wide, inner, narrow, out):
            poisoned.view(torch.uint8).fill_(0xFF)  # NaN
        layer()
        self._check(x, x_scales, expert_ids, weights.view(tokens, K), out)
        return layer

    def _check(self, x, x_scales, expert_ids, weights, out):
        """A peer that computes something else is no peer: one token against fp32."""
        token = out.shape[0] // 2
        row = x[token].float() * (x_scales[token] if self.fp8 else 1)
        scale = self.scale if self.fp8 else 1
        expected = torch.zeros(D, device="cuda")
        for expert, weight in zip(expert_ids[token].tolist(), weights[token].tolist()):
            gate, up = (self.gate_up[expert].float() @ row * scale).split(I)
            expected += weight * (self.down[expert].float() @ (torch.nn.functional.silu(gate) * up)) * scale
        error = ((out[token].float() - expected).norm() / expected.norm()).item()
        assert error < (0.06 if self.fp8 else 0.01), f"the Triton layer is off by {error:.3f}"


def random_experts(tokens: int) -> torch.Tensor:
    """[T, K], different experts of a token, all alike."""
    return torch.rand(tokens, E, device="cuda").topk(K).indices


def layer_bytes(expert_ids: torch.Tensor, fp8: bool) -> int:
    """Of the weights that are read."""
    return expert_ids.unique().numel() * 3 * D * I * (1 if fp8 else 2)
