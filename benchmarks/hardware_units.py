"""Binary and pruned networks as hardware: cycles, verification in RTL, and what the bitstream takes.

    python benchmarks/hardware_units.py tfc icebreaker --multipliers 4 --shared ../shared/data
    python benchmarks/hardware_units.py pruned ulx3s-85f --multipliers 40
    python benchmarks/hardware_units.py lenet5 ulx3s-85f --multipliers 64 --dsp 40

`tfc` is FINN's binary network for MNIST (784-64-64-64-10), verified on its test images. `pruned` is LeNet-300-100 at
the densities of Deep Compression (8, 9 and 26 %, random weights of 16 distinct values, random images), `dense` the same
with all of its weights. `lenet5` and `digits` are CNNs of random codes of 8 bits; `--dsp` says how many multiplier
blocks there are for them, so that products must share some.
"""

from __future__ import annotations

import argparse
import gzip
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from bitkiln.boards import find_board
from bitkiln.frontend.onnx_import import import_onnx
from bitkiln.hdl.build_plan import build_plan
from bitkiln.hdl.verification import VerifyOptions
from bitkiln.hdl.verify import verify_plan
from bitkiln.ir import Builder, Graph, Int, Location, TensorType
from bitkiln.ir.ops import Conv2d, Dequantise, Linear, MaxPool2d, Op, Requantise, Reshape
from bitkiln.passes.schedule import PlanOptions, schedule
from bitkiln.sim.queues import size_queues

IMAGES = 100
SIZES = (784, 300, 100, 10)
DENSITIES = {"pruned": (0.08, 0.09, 0.26), "dense": (1.0, 1.0, 1.0)}
CODES = Int(8, False, 7)


@dataclass(frozen=True)
class Cnn:
    """Convolutions (filters, kernel, padding), each with a pooling of 2 by 2, and linear layers over the rest."""

    size: int
    convolutions: tuple[tuple[int, int, int], ...]
    linear: tuple[int, ...]


CNNS = {
    "lenet5": Cnn(28, ((6, 5, 2), (16, 5, 0)), (120, 84, 10)),
    "digits": Cnn(8, ((4, 3, 1), (8, 3, 1)), (10,)),
}


def main() -> None:
    """Print what one network takes on one board."""
    parser = argparse.ArgumentParser(description="Binary and pruned networks as hardware.")
    parser.add_argument("network", choices=("tfc", *DENSITIES, *CNNS))
    parser.add_argument("board")
    parser.add_argument("--multipliers", type=int, default=16, help="budget of the folding")
    parser.add_argument("--shared", type=Path, default=Path("../shared/data"), help="folder with qonnx/ and mnist/")
    parser.add_argument("--dsp", type=int, help="multiplier blocks that products may take; default: the board's")
    parser.add_argument("--images", type=int, default=100)
    options = parser.parse_args()
    board = find_board(options.board)
    graph, images = network(options.network, options.shared)
    wanted = PlanOptions(
        max_multipliers=options.multipliers,
        clock_mhz=board.clock_hz / 1e6,
        dsp=board.resources.dsp if options.dsp is None else options.dsp,
        dsp_block=board.dsp_block,
    )
    plan = size_queues(schedule(graph, wanted))
    found = verify_plan(plan, images, VerifyOptions(images=options.images))
    print(
        f"{options.network}: {plan.multipliers} multipliers in {plan.dsp_blocks} blocks, {found.rtl_interval} cycles "
        f"an image (latency {found.rtl_latency}), {found.mismatches} wrong beats and {found.cycle_mismatches} wrong "
        f"cycles on {options.images} images",
        flush=True,
    )
    built = build_plan(plan, board)
    rate = board.clock_hz / found.rtl_interval
    print(
        f"{board.name}: {built.used.lut} LUT, {built.used.ff} FF, {built.used.bram} BRAM, {built.used.dsp} DSP, "
        f"Fmax {built.fmax_mhz:.1f} MHz; {rate:,.0f} images/s at {board.clock_hz / 1e6:g} MHz, "
        f"{built.fmax_mhz * 1e6 / found.rtl_interval:,.0f} at Fmax"
    )


def network(name: str, shared: Path) -> tuple[Graph, Tensor]:
    """A network and images for it."""
    if name == "tfc":
        return tfc(shared)
    return cnn(CNNS[name]) if name in CNNS else lenet(DENSITIES[name])


def tfc(shared: Path) -> tuple[Graph, Tensor]:
    """The network, and MNIST's test images from 0 to 1."""
    raw = gzip.decompress((shared / "mnist" / "t10k-images-idx3-ubyte.gz").read_bytes())[16:]
    pixels = np.frombuffer(raw, np.uint8).reshape(-1, 1, 28, 28)[:IMAGES].astype(np.float32) / 255
    return import_onnx(shared / "qonnx" / "TFC_1W1A.onnx"), torch.from_numpy(pixels)


def lenet(densities: tuple[float, ...]) -> tuple[Graph, Tensor]:
    """LeNet-300-100 of 8-bit codes with so many weights, and images of which a fifth of the pixels is not 0."""
    generator, build = torch.Generator().manual_seed(0), Builder("lenet_300_100")
    x = build.input("x", TensorType((1, SIZES[0]), CODES))
    for i, density in enumerate(densities):
        shape = (SIZES[i + 1], SIZES[i])
        codes = torch.randint(-8, 8, shape, generator=generator) * 16 + 1
        codes = codes * (torch.rand(shape, generator=generator) < density)
        weight = build.constant(f"w{i}", TensorType(shape, Int(8, True, 7)), codes.to(torch.int8))
        x = build.add(Linear(), (x, weight), f"fc{i + 1}", Location(module=f"fc{i + 1}"))
        x = build.add(Requantise(CODES, (7,)), (x,), f"codes{i + 1}")
    graph = build.graph((build.add(Dequantise((7,)), (x,), "scores"),))
    images = torch.randint(1, 256, (IMAGES, SIZES[0]), generator=generator)
    return graph, images * (torch.rand(IMAGES, SIZES[0], generator=generator) < 0.2)


def cnn(shape: Cnn) -> tuple[Graph, Tensor]:
    """The CNN with random codes of 8 bits but -128, and images."""
    generator, build = torch.Generator().manual_seed(0), Builder("cnn")
    x = build.input("x", TensorType((1, 1, shape.size, shape.size), CODES))

    def weights(name: str, *sizes: int) -> str:
        codes = torch.randint(-127, 128, sizes, generator=generator).to(torch.int8)
        return build.constant(name, TensorType(sizes, Int(8, True, 7)), codes)

    def layer(op: Op, x: str, name: str, weight: str) -> str:
        sums = build.add(op, (x, weight), name, Location(module=name))
        return build.add(Requantise(Int(8, False, 7), (7,)), (sums,), f"{name}.codes")

    for i, (filters, kernel, padding) in enumerate(shape.convolutions):
        channels = build.types[x].shape[1]
        op = Conv2d((1, 1), ((padding, padding), (padding, padding)), (1, 1), 1)
        x = layer(op, x, f"conv{i + 1}", weights(f"w{i + 1}", filters, channels, kernel, kernel))
        x = build.add(MaxPool2d((2, 2), (2, 2)), (x,), f"pool{i + 1}")
    x = build.add(Reshape((1, math.prod(build.types[x].shape[1:]))), (x,), "flat")
    for i, features in enumerate(shape.linear):
        x = layer(Linear(), x, f"fc{i + 1}", weights(f"v{i + 1}", features, build.types[x].shape[1]))
    graph = build.graph((build.add(Dequantise((7,)), (x,), "scores"),))
    return graph, torch.randint(0, 256, (IMAGES, 1, shape.size, shape.size), generator=generator)


if __name__ == "__main__":
    main()
