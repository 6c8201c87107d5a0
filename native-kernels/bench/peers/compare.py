"""Our kernels beside the best that PyTorch and Triton offer, on one GPU, in turn: peer, ours, peer, ours.

    make -C native-kernels/bench OUT=DIR && make -C native-kernels -f bench/decode.mk OUT=DIR
    python3 native-kernels/bench/peers/compare.py DIR [decode] [decode-fp8] [moe] [moe-fp8] [attention]

DIR holds our benches. Needs PyTorch and Triton, and nothing else. Prints tables in Markdown.
"""

import re
import subprocess
import sys

import torch

from few_tokens import FewTokens
from layers import DecodeLayers, decode_attention_ms, prefill_attention_ms
from moe import MoeLayer, random_experts
from timing import D, G, H, HEAD_DIM, I, K, graph_ms, read_ceiling

BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
CONTEXT = 1024
MOE_TOKENS = (1, 4, 8, 32, 128, 256)  # which the application gives its decode kernels
ROUTED_ROWS = (1024, 4096, 8192, 16384)  # which it gives prefill's


def ours(directory: str, program: str, *arguments: str) -> str:
    """What one of our benches prints."""
    done = subprocess.run([f"{directory}/{program}", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{program} {' '.join(arguments)} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout


def mean(values):
    return sum(values) / len(values)


def decode(directory: str, fp8: bool, gbs: float):
    """Share of the read ceiling: what is read depends on the experts that are drawn."""
    layers = DecodeLayers(fp8)
    peer, own = {b: [] for b in BATCHES}, {b: [] for b in BATCHES}
    for _ in range(2):
        for batch in BATCHES:
            us, read = layers.step(batch, CONTEXT)
            peer[batch].append(read / us / 1e3 / gbs)
        table = ours(directory, "decode_bench", "table", *(["fp8"] if fp8 else []))
        for row in re.findall(r"^\| (\d+) \|.*\| ([\d.]+)% \|$", table, re.MULTILINE):
            own[int(row[0])].append(float(row[1]) / 100)
    print(f"\n| decode layer, {'fp8' if fp8 else 'bf16'}, B | ours | composed | ratio |\n|---|---|---|---|")
    for b in BATCHES:
        a, p = mean(own[b]), mean(peer[b])
        print(f"| {b} | {a:.1%} | {p:.1%} | {a / p:.2f} |", flush=True)


def few_experts(directory: str, fp8: bool, gbs: float):
    """Rows of the table of moe, for tokens that decode's kernels take, with shares of the read ceiling: bytes of
    the chosen experts' weights alone."""
    experts = FewTokens(directory, fp8)
    for tokens in MOE_TOKENS:
        times = experts.measure(tokens)
        share = lambda us: f"{times.read / us / 1e3 / gbs:.1%}"
        moe_row(tokens * K, "decode", mean(times.ours), mean(times.peer), times.bare, share)


def moe_row(rows, kernels, own, peer, bare, share):
    print(f"| {rows} | {kernels} | {own:.1f} | {peer:.1f} | {6 * rows * D * I / own / 1e6:.0f} | {peer / own:.2f} |", end="")
    print(f" {share(own)} | {share(peer)} |", end="")
    print(f" {mean(bare):.1f} | {mean(bare) / own:.2f} |" if bare else "", flush=True)


def moe(directory: str, fp8: bool, gbs: float):
    """Time of a whole MoE layer, random routing, by the kernels that the application would launch. In FP8 the peer
    quantises its input (as prefill's kernels do); beside that stands the peer whose input is quantised beforehand."""
    print(f"\n| MoE layer, {'fp8' if fp8 else 'bf16'}, routed rows | our kernels | ours us | Triton us | TFLOP/s | ratio |", end="")
    print(" ours, of reads | Triton, of reads |", end="")
    print(" input quantised before, us | ratio |" if fp8 else "")
    print("|---" * (10 if fp8 else 8) + "|")
    few_experts(directory, fp8, gbs)
    torch.cuda.empty_cache()  # for the programs that run beside this one
    layer = MoeLayer(fp8)
    peer, own, bare = ({m: [] for m in ROUTED_ROWS} for _ in range(3))
    for _ in range(2):
        for rows in ROUTED_ROWS:
            run = layer.prepare(rows // K, random_experts(rows // K))
            peer[rows].append(graph_ms(run) * 1e3)
            if fp8:
                bare[rows].append(graph_ms(lambda: run(True)) * 1e3)
            del run
        torch.cuda.empty_cache()
        program, arguments = ("prefill_fp8_bench", []) if fp8 else ("prefill_bench", ["gemm"])
        pattern = r"^\| (\d+) random \|.*?\| (\d+) us, [^|]*\|" if fp8 else r"^\| (\d+) random \|.*\| (\d+) us,"
        for rows, us in re.findall(pattern, ours(directory, program, *arguments), re.MULTILINE):
            if int(rows) in own:
                own[int(rows)].append(float(us))
    for m in ROUTED_ROWS:
        moe_row(m, "prefill", mean(own[m]), mean(peer[m]), bare[m], lambda us: "")


def attention(directory: str, gbs: float):
    """Causal prefill of one sequence, blocks of 64; decode of the peer alone, as a share of reads."""
    own = {}
    table = ours(directory, "prefill_bench", "attention")
    for tokens, us in re.findall(r"^\| (\d+) tokens, block 64 \| ([\d.]+) us", table, re.MULTILINE):
        own[int(tokens)] = float(us)
    print("\n| causal attention, tokens | ours us | PyTorch us | TFLOP/s | ratio |\n|---|---|---|---|---|")
    for tokens in (512, 1024, 2048, 4096, 8192):
        peer = prefill_attention_ms(tokens) * 1e3
        flop = 2 * tokens * tokens * H * HEAD_DIM
        a = own[tokens]
        print(f"| {tokens} | {a:.1f} | {peer:.1f} | {flop / a / 1e6:.0f} | {peer / a:.2f} |", flush=True)
    for batch, context in ((1, 4096), (64, 4096)):
        us = decode_attention_ms(batch, context) * 1e3
        read = 4 * batch * context * G * HEAD_DIM
        print(f"PyTorch's decode attention, B={batch}, context {context}: {us:.1f} us, {read / us / 1e3 / gbs:.0%} of reads")


def main():
    directory, parts = sys.argv[1], sys.argv[2:]
    asked = lambda part: not parts or part in parts
    torch.manual_seed(20261123)
    gbs = read_ceiling()
    print(f"{torch.cuda.get_device_name()}, PyTorch {torch.__version__}, reads {gbs:.0f} GB/s")
    with torch.inference_mode():
        for fp8 in (False, True):
            suffix = "-fp8" if fp8 else ""
            if asked("decode" + suffix):
                decode(directory, fp8, gbs)
            torch.cuda.empty_cache()
            if asked("moe" + suffix):
                moe(directory, fp8, gbs)
            torch.cuda.empty_cache()
        if asked("attention"):
            attention(directory, gbs)


if __name__ == "__main__":
    main()
