"""Device time, ceilings and shares: the same for all peers."""

import statistics

import torch
import triton
import triton.language as tl

# Mixtral-8x7B: D hidden, I intermediate, E experts, K experts of a token, H query heads, G KV heads
D, I, E, K, H, G, HEAD_DIM = 4096, 14336, 8, 2, 32, 8, 128
ROUNDS = 15
FP8 = torch.float8_e4m3fn


@triton.jit
def _read(x, out, n, BLOCK: tl.constexpr):
    total = tl.zeros([BLOCK], tl.int32)
    for at in range(tl.program_id(0) * BLOCK, n, tl.num_programs(0) * BLOCK):
        total += tl.load(x + at + tl.arange(0, BLOCK))
    tl.store(out + tl.program_id(0), tl.sum(total))


def read_ceiling() -> float:
    """GB/s of a kernel that only reads, 4 GiB."""
    n = 1 << 30
    x = torch.randint(-9, 9, (n,), dtype=torch.int32, device="cuda")
    out = torch.empty(132 * 16, dtype=torch.int32, device="cuda")
    best = 0.0
    for block, warps, per in ((4096, 8, 4), (8192, 8, 4), (8192, 4, 8), (16384, 8, 2)):
        run = lambda: _read[(132 * per,)](x, out, n, block, num_warps=warps)
        best = max(best, 4 * n / median_ms(run) / 1e6)
    return best


def keep_busy():
    """Half a millisecond of nothing: what is enqueued meanwhile is timed without the host's delays."""
    torch.cuda._sleep(1_000_000)


def median_ms(run, rounds: int = ROUNDS, warmup: int = 3, before=lambda: None) -> float:
    """Median of device events, milliseconds. before: enqueued in front of each, and not timed."""
    for _ in range(warmup):
        before()
        run()
    times = []
    for _ in range(rounds):
        before()
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        run()
        end.record()
        end.synchronize()
        times.append(begin.elapsed_time(end))
    return statistics.median(times)


def graph_ms(run, before=lambda: None) -> float:
    """Median time of a CUDA graph of `run`, milliseconds. before: as in median_ms."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            run()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        run()
    return median_ms(graph.replay, before=before)


def random_weight(*shape: int, fp8: bool) -> torch.Tensor:
    """Normal, deviation 0.02; FP8 codes stand for 1/16 of their value."""
    weight = torch.empty(shape, dtype=FP8 if fp8 else torch.bfloat16, device="cuda")
    for part in weight.view(-1, shape[-1]).split(8192):
        part.copy_(torch.randn(part.shape, device="cuda") * (0.32 if fp8 else 0.02))
    return weight
