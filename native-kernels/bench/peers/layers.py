"""Decode layers and attention composed of the fastest ready-made kernels: cuBLAS, PyTorch's attention
(cuDNN's or flash) and the Triton experts. Rotary embedding, writing the cache, planning the experts and
choosing them are left out, in this peer's favour; in FP8 so is finding the scale of the projections'
inputs, which are cast as they are."""

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from moe import MoeLayer, layer_bytes, random_experts
from timing import D, FP8, G, H, HEAD_DIM, graph_ms, median_ms, random_weight

BACKENDS = (SDPBackend.CUDNN_ATTENTION, SDPBackend.FLASH_ATTENTION)
LAYERS = 3  # in turn, so that weights come from memory


def _attention(q, k, v, causal):
    return torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=causal, enable_gqa=True)


def fastest_backend(q, k, v, causal):
    """(milliseconds, backend) of the faster of those that take this shape."""
    found = []
    for backend in BACKENDS:
        try:
            with sdpa_kernel(backend):
                found.append((graph_ms(lambda: _attention(q, k, v, causal)), backend))
        except RuntimeError:
            pass
    return min(found, key=lambda f: f[0])


def _heads(batch, heads, length):
    return torch.randn(batch, length, heads, HEAD_DIM, device="cuda").to(torch.bfloat16).transpose(1, 2)


def decode_attention_ms(batch: int, context: int) -> float:
    q, k, v = _heads(batch, H, 1), _heads(batch, G, context), _heads(batch, G, context)
    return fastest_backend(q, k, v, False)[0]


def prefill_attention_ms(tokens: int) -> float:
    q, k, v = _heads(1, H, tokens), _heads(1, G, tokens), _heads(1, G, tokens)
    return fastest_backend(q, k, v, True)[0]


class DecodeLayers:
    """LAYERS layers' weights; every layer's step in one CUDA graph."""

    def __init__(self, fp8: bool):
        self.fp8 = fp8
        width = (H + 2 * G) * HEAD_DIM
        self.qkv = [random_weight(width, D, fp8=fp8) for _ in range(LAYERS)]
        self.output = [random_weight(D, D, fp8=fp8) for _ in range(LAYERS)]
        self.router = [random_weight(8, D, fp8=False) for _ in range(LAYERS)]
        self.norm = torch.ones(D, dtype=torch.bfloat16, device="cuda")
        self.moe = [MoeLayer(fp8) for _ in range(LAYERS)]
        self.scale = torch.tensor(1 / 16, device="cuda")
        self.one = torch.tensor(1.0, device="cuda")

    def _linear(self, x, weight):
        if not self.fp8:
            return x @ weight.T
        return torch._scaled_mm(
            x.to(FP8), weight.T, self.one, self.scale, out_dtype=torch.bfloat16, use_fast_accum=True)

    def step(self, batch: int, context: int):
        """(microseconds a layer, bytes a layer) of `batch` sequences."""
        rows = max(batch, 16) if self.fp8 else batch  # what torch._scaled_mm takes
        residual = torch.randn(rows, D, device="cuda").to(torch.bfloat16)
        ids = [random_experts(batch) for _ in range(LAYERS)]
        experts = [moe.prepare(batch, chosen) for moe, chosen in zip(self.moe, ids)]
        q = _heads(batch, H, 1)
        caches = [(_heads(batch, G, context), _heads(batch, G, context)) for _ in range(LAYERS)]
        backend = fastest_backend(q, *caches[0], False)[1]

        def layers():
            x = residual
            for layer in range(LAYERS):
                normed = torch.nn.functional.rms_norm(x, (D,), self.norm, 1e-5)
                self._linear(normed, self.qkv[layer])
                attended = _attention(q, *caches[layer], False).transpose(1, 2).reshape(batch, D)
                if rows > batch:
                    attended = torch.nn.functional.pad(attended, (0, 0, 0, rows - batch))
                x = x + self._linear(attended, self.output[layer])
                normed = torch.nn.functional.rms_norm(x, (D,), self.norm, 1e-5)
                (normed @ self.router[layer].T).float().softmax(-1).topk(2)
                experts[layer]()

        with sdpa_kernel(backend):
            us = graph_ms(layers) * 1e3 / LAYERS
        each = 1 if self.fp8 else 2
        fixed = each * D * ((H + 2 * G) * HEAD_DIM + D) + 2 * 2 * batch * context * G * HEAD_DIM
        return us, fixed + sum(layer_bytes(chosen, self.fp8) for chosen in ids) / LAYERS
