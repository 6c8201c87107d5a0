"""Draws docs/images/{decode,prefill,moe}.svg from the tables beside this file:

    python3 docs/figures/plot.py        # needs matplotlib

The tables hold figures of docs/benchmarks.md, which says how each was measured.
"""

import csv
import pathlib

import matplotlib

matplotlib.use("svg")
matplotlib.rcParams["svg.hashsalt"] = "gregale"  # the same file for the same figures
import matplotlib.pyplot as plt

HERE = pathlib.Path(__file__).parent
IMAGES = HERE.parent / "images"


def table(name):
    """The first column, and the others by their titles; empty cells are None."""
    with open(HERE / f"{name}.csv", newline="") as file:
        titles, *rows = csv.reader(file)
    columns = list(zip(*rows))
    x = [int(cell) for cell in columns[0]]
    series = {
        title: [float(cell) if cell else None for cell in column]
        for title, column in zip(titles[1:], columns[1:])
    }
    return x, series


def draw(axes, x, series, ticks):
    for title, values in series.items():
        points = [(a, b) for a, b in zip(x, values) if b is not None]
        ours = title.startswith("Gregale")
        axes.plot(*zip(*points), label=title, marker="o", markersize=3.5, linewidth=1.8 if ours else 1.2,
                  linestyle="-" if ours else "--")
    axes.set_xscale("log", base=2)
    axes.set_xticks(ticks)
    axes.set_xticklabels([f"{tick:,}" for tick in ticks])
    axes.minorticks_off()
    axes.grid(alpha=0.3)
    axes.legend(fontsize=7, loc="best")


def save(figure, name):
    figure.tight_layout()
    figure.savefig(IMAGES / f"{name}.svg", metadata={"Date": None})


def decode():
    figure, panels = plt.subplots(1, 2, figsize=(9, 3.4), sharey=True)
    for axes, precision in zip(panels, ("bf16", "fp8")):
        x, series = table(f"decode-{precision}")
        draw(axes, x, series, x)
        axes.set_title(f"decode, {precision} weights, context 1,024", fontsize=9)
        axes.set_xlabel("sequences")
    panels[0].set_ylabel("% of what memory can be read at")
    panels[0].set_ylim(60, 100)
    save(figure, "decode")


def prefill():
    figure, axes = plt.subplots(figsize=(5, 3.4))
    x, series = table("prefill")
    draw(axes, x, series, x)
    axes.set_ylim(0, 1000)
    axes.set_xlabel("tokens of the prompt")
    axes.set_ylabel("TFLOP/s, whole model")
    save(figure, "prefill")


def moe():
    figure, axes = plt.subplots(figsize=(5, 3.4))
    x, series = table("moe")
    ratios = {}
    for precision in ("bf16", "fp8"):
        pairs = zip(series[f"Triton, {precision}"], series[f"Gregale, {precision}"])
        ratios[f"Gregale, {precision}"] = [a / b if a and b else None for a, b in pairs]
    draw(axes, x, ratios, [2, 16, 64, 256, 1024, 4096, 16384])
    axes.axhline(1, color="black", linewidth=0.8)
    axes.set_xlabel("routed rows")
    axes.set_ylabel("Triton's time / Gregale's, MoE layer")
    save(figure, "moe")


if __name__ == "__main__":
    decode()
    prefill()
    moe()
