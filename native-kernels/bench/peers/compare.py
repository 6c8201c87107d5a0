"""Our kernels beside the best that PyTorch and Triton offer, on one GPU, in turn: peer, ours, peer, ours.

    make -C native-kernels/bench OUT=DIR && make -C native-kernels -f bench/decode.mk OUT=DIR
    python3 native-kernels/bench/peers/compare.py DIR [decode] [decode-fp8] [moe] [moe-fp8] [attention]

DIR holds our benches. Needs PyTorch and Triton, and nothing else. Prints tables in Markdown.
"""

import re
import subprocess
import sys

import torch

from layers import DecodeLayers, decode_attention_ms, prefill_attention_ms
from moe import MoeLayer, balanced_experts, random_experts
from timing import D, G, H, HEAD_DIM, I, K, graph_ms, read_ceiling

BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
CONTEXT = 1024
ROUTED_ROWS = (16, 64, 256, 512, 1024, 4096, 8192, 16384)
BALANCED = 16  # so few rows random experts may leave some out: each gets two instead


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


def moe(directory: str, fp8: bool):
    """Time of a whole MoE layer, random routing (two rows for each expert where there are 16). In FP8 the peer quantises its input as ours does; beside
    that stands the peer whose input is quantised beforehand."""
    layer = MoeLayer(fp8)
    peer, own, bare = ({m: [] for m in ROUTED_ROWS} for _ in range(3))
    for _ in range(2):
        for rows in ROUTED_ROWS:
            ids = balanced_experts(rows // K) if rows == BALANCED else random_experts(rows // K)
            peer[rows].append(graph_ms(layer.prepare(rows // K, ids)) * 1e3)
            if fp8:
                bare[rows].append(graph_ms(layer.prepare(rows // K, ids, quantized=True)) * 1e3)
        program, arguments = ("prefill_fp8_bench", []) if fp8 else ("prefill_bench", ["gemm"])
        pattern = r"^\| (\d+) (\w+) \|.*?\| (\d+) us, [^|]*\|" if fp8 else r"^\| (\d+) (\w+) \|.*\| (\d+) us,"
        for rows, routing, us in re.findall(pattern, ours(directory, program, *arguments), re.MULTILINE):
            if int(rows) in own and (routing == "balanced") == (int(rows) == BALANCED):
                own[int(rows)].append(float(us))
    print(f"\n| MoE layer, {'fp8' if fp8 else 'bf16'}, routed rows | ours us | Triton us | TFLOP/s | ratio |", end="")
    print(" input quantised before, us | ratio |" if fp8 else "")
    print("|---" * (7 if fp8 else 5) + "|")
    for m in ROUTED_ROWS:
        if own[m]:
            a, p = mean(own[m]), mean(peer[m])
            print(f"| {m} | {a:.0f} | {p:.0f} | {6 * m * D * I / a / 1e6:.0f} | {p / a:.2f} |", end="")
            print(f" {mean(bare[m]):.0f} | {mean(bare[m]) / a:.2f} |" if fp8 else "", flush=True)


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
                moe(directory, fp8)
            torch.cuda.empty_cache()
        if asked("attention"):
            attention(directory, gbs)


if __name__ == "__main__":
    main()
