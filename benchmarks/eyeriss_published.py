"""Eyeriss: the measured chip (JSSC 2017, Tables V, VI), the first paper's energies (ISCA 2016, Fig. 10), the engine.

    python benchmarks/eyeriss_published.py

Each mapping is found by the search of `bitkiln/sim/_row_search.py`, the same for every layer; nothing is fitted to one.
The chip's feature maps are stored as run lengths: with the printed share of zeros of each input, and of each output as
the next layer's input. Outputs of the last layer have no printed share and count as dense.
"""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bitkiln.sim.accelerator import Operand, RowStationary, Sram, find_accelerator
from bitkiln.sim.counts import Level
from bitkiln.sim.energy import Kind
from bitkiln.sim.simulate import simulate
from bitkiln.sim.technologies import find_technology
from bitkiln.sim.workload import Layer, LayerKind, Workload

PUBLISHED = Path(__file__).parent / "published"

ISCA_2016 = {
    "conv1": (1.69, 2.46, 6.75),
    "conv2": (3.58, 2.27, 14.33),
    "conv3": (2.39, 2.02, 9.57),
    "conv4": (1.79, 1.57, 7.18),
    "conv5": (1.20, 1.05, 4.78),
    "fc1": (0.60, 7.78, 2.42),
    "fc2": (0.27, 3.39, 1.07),
    "fc3": (0.07, 0.84, 0.26),
}
"""ALU, DRAM, RF in 1e9 multiply-accumulates, batch 16."""

SHAPES = {
    "conv1": (227, 11, 4, 3, 96, 1),
    "conv2": (31, 5, 1, 96, 256, 2),
    "conv3": (15, 3, 1, 256, 384, 1),
    "conv4": (15, 3, 1, 384, 384, 2),
    "conv5": (15, 3, 1, 384, 256, 2),
    "fc1": (6, 6, 1, 256, 4096, 1),
    "fc2": (1, 1, 1, 4096, 4096, 1),
    "fc3": (1, 1, 1, 4096, 1000, 1),
}
"""Size, kernel, stride, channels, filters, groups: Table II of the ISCA paper, padding being part of the size."""


def layer(name: str, batch: int) -> Layer:
    """Return a layer of AlexNet."""
    size, kernel, stride, channels, filters, groups = SHAPES[name]
    kernels, strides = (kernel, kernel), (stride, stride)
    kind = LayerKind.CONVOLUTION
    return Layer(name, kind, size, size, channels, filters, kernels, strides, groups=groups, batch=batch)


def vgg_layer(name: str) -> Layer:
    """Return a layer of VGG-16, batch 3; the name says its block."""
    block, number = int(name[4]), int(name[6])
    size, filters = 448 >> block, min(512, 32 << block)
    channels = 3 if name == "conv1-1" else filters // 2 if number == 1 and block < 5 else filters
    pads = ((1, 1), (1, 1))
    return Layer(name, LayerKind.CONVOLUTION, size, size, channels, filters, (3, 3), padding=pads, batch=3)


def chip(file_name: str, layers: list[Layer]) -> Table:
    """Processing time, active cells and DRAM traffic of the chip."""
    with (PUBLISHED / file_name).open() as file:
        rows = [row for row in csv.DictReader(file) if row["layer"] != "Total"]
    kept = [1 - float(row["zeros_ifmap_pct"]) / 100 for row in rows]
    given = [
        replace(layer, given_activation_density=density, given_output_density=following)
        for layer, density, following in zip(layers, kept, [*kept[1:], None], strict=True)
    ]
    accelerator = find_accelerator("eyeriss-like")
    found = simulate(Workload("network", tuple(given), layers[0].batch), accelerator, find_technology("65nm"))
    table = Table(
        "layer", "GMAC", "cells", "processing ms", "error", "total ms", "DRAM MB", "error", "buffer MB", "mapping"
    )
    for row, run in zip(rows, found.runs, strict=True):
        mapping, _, cells = run.mapping.rpartition("; ")
        computing, total = (cycles / accelerator.clock_hz * 1e3 for cycles in (run.compute_cycles, run.cycles))
        moved, buffered = run.bytes(Level.DRAM) / 1e6, run.bytes(Level.SRAM) / 1e6
        table.add_row(
            run.layer.name,
            f"{run.layer.macs / 1e9:.2f}/{row['MACs_G']}",
            f"{cells.split()[0]}/{row['active_PEs']}",
            f"{computing:.2f}/{row['processing_latency_ms']}",
            f"{computing / float(row['processing_latency_ms']) - 1:+.1%}",
            f"{total:.1f}/{row['total_latency_ms']}",
            f"{moved:.2f}/{row['dram_MB']}",
            f"{moved / float(row['dram_MB']) - 1:+.1%}",
            f"{buffered:.1f}/{row['glb_MB']}",
            mapping.removesuffix(" groups=1"),
        )
    return table


def first_paper() -> Table:
    """Energies of 256 cells with 512-byte pads and a buffer of 128 kB, batch 16."""
    array = RowStationary(16, 16, shared_words=256)
    buffer = Sram(tuple(Operand), 128 * 1024, 64, ports=4, is_double_buffered=False)
    accelerator = replace(find_accelerator("eyeriss-like"), row_stationary=array, sram=(buffer,))
    workload = Workload("alexnet", tuple(layer(name, 16) for name in SHAPES), 16)
    found = simulate(workload, accelerator, find_technology("eyeriss-relative"))
    table = Table("layer", "ALU", "error", "DRAM", "error", "RF", "error", "buffer", "network", "mapping")
    for run, energy in zip(found.runs, found.energies, strict=True):
        parts = {kind: value / 1e9 for kind, value in energy}
        cells: list[str] = []
        for kind, printed in zip((Kind.MULTIPLY, Kind.DRAM, Kind.REGISTER), ISCA_2016[run.layer.name], strict=True):
            cells += [f"{parts[kind]:.2f}/{printed:.2f}", f"{parts[kind] / printed - 1:+.1%}"]
        mapping = run.mapping.split("; ")[0].removesuffix(" groups=1")
        table.add_row(run.layer.name, *cells, f"{parts[Kind.SRAM]:.2f}", f"{parts[Kind.NETWORK]:.2f}", mapping)
    return table


def main() -> None:
    """Print both tables; a cell is simulated/printed."""
    console = Console(width=160)
    alexnet = [layer(f"conv{number}", 4) for number in range(1, 6)]
    console.print("the chip, AlexNet, batch 4, simulated/printed", chip("eyeriss_alexnet_batch4.csv", alexnet))
    counts = (2, 2, 3, 3, 3)
    vgg16 = [vgg_layer(f"conv{block}-{number}") for block in range(1, 6) for number in range(1, counts[block - 1] + 1)]
    console.print("the chip, VGG-16, batch 3, simulated/printed", chip("eyeriss_vgg16_batch3.csv", vgg16))
    console.print("the first paper, batch 16, 1e9 multiply-accumulates, simulated/printed", first_paper())


if __name__ == "__main__":
    main()
