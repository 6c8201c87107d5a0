"""The experts of a decode step of few tokens: the launches that the application makes (libdecode_experts.so),
beside Triton's, on the same weights, inputs, experts and routing weights, each as one CUDA graph.

Ours is the whole block: it also has the norm, the router with its choice, planning and adding to the fp32
residual, and its launches are dependent as in a decode step. Triton's is MoeLayer, which has none of these: it
gets the normed input and our choice. In FP8 ours multiplies codes by bf16, Triton's codes by codes.
"""

import ctypes
import dataclasses

import torch

from moe import MoeLayer, layer_bytes
from timing import D, E, I, K, graph_ms, keep_busy

LAYERS = 3  # in turn, so that weights come from memory: two experts of one are 0.35 GB in FP8, L2 is 50 MB
TURNS = 2  # over the layers, in a graph
EPS = 1e-5
SCALES = 16  # of a tile of 128 rows by 128 codes


@dataclasses.dataclass
class Tiles:
    """One layer's weights as our kernels have them; scales are None in bf16."""

    router: torch.Tensor  # [E, D]
    gain: torch.Tensor  # [D]
    gain_f32: torch.Tensor
    gate_up: torch.Tensor
    gate_up_scales: torch.Tensor | None
    down: torch.Tensor
    down_scales: torch.Tensor | None

    def addresses(self):
        fields = (getattr(self, field.name) for field in dataclasses.fields(self))
        return [None if tensor is None else tensor.data_ptr() for tensor in fields]


@dataclasses.dataclass
class Times:
    """Microseconds a layer, two rounds of each in turn, and the bytes of the experts' weights."""

    ours: list
    peer: list
    bare: list  # the peer whose input is quantised beforehand
    read: float


class FewTokens:
    def __init__(self, directory: str, fp8: bool):
        self.fp8 = fp8
        self.library = ctypes.CDLL(f"{directory}/libdecode_experts.so")
        pointer, integer = ctypes.c_void_p, ctypes.c_int
        self.library.experts_create.restype = pointer
        self.library.experts_create.argtypes = [integer]
        self.library.experts_tile.restype = None
        self.library.experts_tile.argtypes = [pointer] * 6
        self.library.experts_poison.restype = None
        self.library.experts_poison.argtypes = [pointer] * 2
        self.library.experts_launch.restype = None
        self.library.experts_launch.argtypes = [pointer] * 2 + [integer] * 2 + [pointer] * 10
        self.experts = self.library.experts_create(int(fp8))
        self.peers = [MoeLayer(fp8) for _ in range(LAYERS)]
        self.tiles = [self._tiles(peer) for peer in self.peers]

    @staticmethod
    def _stream() -> int:
        return torch.cuda.current_stream().cuda_stream

    def _tiles(self, peer: MoeLayer) -> Tiles:
        gate_up, down = torch.empty_like(peer.gate_up), torch.empty_like(peer.down)
        self.library.experts_tile(self.experts, self._stream(), peer.gate_up.data_ptr(), peer.down.data_ptr(),
                                  gate_up.data_ptr(), down.data_ptr())
        scales = lambda codes: torch.full(
            (codes.numel() // (128 * 128) * SCALES,), peer.scale, device="cuda") if self.fp8 else None
        gain = (1 + 0.1 * torch.randn(D, device="cuda")).to(torch.bfloat16)
        router = (torch.randn(E, D, device="cuda") / D**0.5).to(torch.bfloat16)
        return Tiles(router, gain, gain.float(), gate_up, scales(gate_up), down, scales(down))

    def measure(self, tokens: int) -> Times:
        """Checks both sides, then times them: peer, ours, peer, ours."""
        start = torch.randn(LAYERS, tokens, D, device="cuda")
        # Of each turn its own, so that every layer has the same input, and experts, in all turns.
        residual = torch.empty(TURNS, LAYERS, tokens, D, device="cuda")
        ids = torch.full((TURNS, LAYERS, tokens, K), -1, dtype=torch.int32, device="cuda")
        weights = torch.full((TURNS, LAYERS, tokens, K), float("nan"), device="cuda")

        def reset():
            residual.copy_(start.expand_as(residual))
            keep_busy()

        def ours():
            for turn in range(TURNS):
                for layer in range(LAYERS):
                    self.library.experts_launch(
                        self.experts, self._stream(), int(turn == layer == 0), tokens,
                        residual[turn, layer].data_ptr(), ids[turn, layer].data_ptr(),
                        weights[turn, layer].data_ptr(), *self.tiles[layer].addresses())

        self.library.experts_poison(self.experts, self._stream())
        reset()
        ours()
        expected = residual[0].clone()
        normed = [self._check(layer, start[layer], expected[layer], ids[0, layer], weights[0, layer])
                  for layer in range(LAYERS)]
        chosen = ids[0].long()
        peers = [peer.prepare(tokens, chosen[layer], normed[layer].to(torch.bfloat16), weights[0, layer].clone())
                 for layer, peer in enumerate(self.peers)]

        def theirs(quantized=False):
            for _ in range(TURNS):
                for peer in peers:
                    peer(quantized)

        times = Times([], [], [], sum(layer_bytes(chosen[layer], self.fp8) for layer in range(LAYERS)) / LAYERS)
        for _ in range(2):
            each = lambda run: graph_ms(run, reset) * 1e3 / (TURNS * LAYERS)
            times.peer.append(each(theirs))
            if self.fp8:
                times.bare.append(each(lambda: theirs(True)))
            times.ours.append(each(ours))
            # What was timed is what was checked, bit by bit.
            assert all(torch.equal(residual[turn], expected) for turn in range(TURNS)), "a graph gave other bits"
        return times

    def _check(self, layer: int, before, after, ids, weights) -> torch.Tensor:
        """One layer of ours against fp32; returns the normed input."""
        peer, tiles = self.peers[layer], self.tiles[layer]
        normed = before * torch.rsqrt(before.square().mean(-1, keepdim=True) + EPS) * tiles.gain_f32
        logits = normed @ tiles.router.float().T
        assert ((ids >= 0) & (ids < E)).all() and (ids[:, 0] != ids[:, 1]).all(), "no experts"
        chosen = ids.long()
        # The best, but for what bf16 may confuse.
        slack = logits.topk(K).values[:, -1] - logits.gather(1, chosen).min(-1).values
        assert slack.max() < 0.02, "a better expert was left out"
        share = logits.gather(1, chosen).softmax(-1)
        assert ((weights - share).abs() < 0.01).all(), "routing weights"
        expected = torch.zeros_like(before)
        scale = peer.scale if self.fp8 else 1
        for expert in chosen.unique().tolist():
            token, slot = (chosen == expert).nonzero(as_tuple=True)
            gate, up = (normed[token] @ peer.gate_up[expert].float().T * scale).split(I, -1)
            rows = (torch.nn.functional.silu(gate) * up) @ peer.down[expert].float().T * scale
            expected.index_add_(0, token, rows * weights[token, slot, None])
        error = ((after - before - expected).norm() / expected.norm()).item()
        assert error < 0.01, f"our experts are off by {error:.4f}"
        return normed
