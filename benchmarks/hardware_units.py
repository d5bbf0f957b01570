"""Binary and pruned networks as hardware: cycles, verification in RTL, and what the bitstream takes.

    python benchmarks/hardware_units.py tfc icebreaker --multipliers 4 --shared ../shared/data
    python benchmarks/hardware_units.py pruned ulx3s-85f --multipliers 40

`tfc` is FINN's binary network for MNIST (784-64-64-64-10), verified on its test images. `pruned` is LeNet-300-100 at
the densities of Deep Compression (8, 9 and 26 %, random weights of 16 distinct values, random images), `dense` the same
with all of its weights.
"""

from __future__ import annotations

import argparse
import gzip
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
from bitkiln.ir.ops import Dequantise, Linear, Requantise
from bitkiln.passes.schedule import PlanOptions, schedule
from bitkiln.sim.queues import size_queues

IMAGES = 100
SIZES = (784, 300, 100, 10)
DENSITIES = {"pruned": (0.08, 0.09, 0.26), "dense": (1.0, 1.0, 1.0)}
CODES = Int(8, False, 7)


def main() -> None:
    """Print what one network takes on one board."""
    parser = argparse.ArgumentParser(description="Binary and pruned networks as hardware.")
    parser.add_argument("network", choices=("tfc", *DENSITIES))
    parser.add_argument("board")
    parser.add_argument("--multipliers", type=int, default=16, help="budget of the folding")
    parser.add_argument("--shared", type=Path, default=Path("../shared/data"), help="folder with qonnx/ and mnist/")
    options = parser.parse_args()
    board = find_board(options.board)
    graph, images = tfc(options.shared) if options.network == "tfc" else lenet(DENSITIES[options.network])
    wanted = PlanOptions(max_multipliers=options.multipliers, clock_mhz=board.clock_hz / 1e6)
    plan = size_queues(schedule(graph, wanted))
    found = verify_plan(plan, images, VerifyOptions(images=IMAGES))
    print(
        f"{options.network}: {plan.multipliers} multipliers, {found.rtl_interval} cycles an image (latency "
        f"{found.rtl_latency}), {found.mismatches} wrong beats and {found.cycle_mismatches} wrong cycles on "
        f"{IMAGES} images"
    )
    built = build_plan(plan, board)
    rate = board.clock_hz / found.rtl_interval
    print(
        f"{board.name}: {built.used.lut} LUT, {built.used.ff} FF, {built.used.bram} BRAM, {built.used.dsp} DSP, "
        f"Fmax {built.fmax_mhz:.1f} MHz; {rate:,.0f} images/s at {board.clock_hz / 1e6:g} MHz, "
        f"{built.fmax_mhz * 1e6 / found.rtl_interval:,.0f} at Fmax"
    )


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


if __name__ == "__main__":
    main()
