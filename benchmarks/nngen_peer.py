"""Against NNgen 1.3.4 on its own ground: LeNet-300-100 and LeNet-5 of 8 bits on an LFE5U-85, after place and route.

    python benchmarks/nngen_peer.py --data FOLDER --work FOLDER

NNgen computes layer after layer on shared multipliers and fetches weights from DRAM; here weights are on the chip and
every layer has its own unit. NNgen's side was measured with the same open tools (`PEERS`); of its LeNet-5 only the
cycles were, so the clock of its MLP stands for both.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import torch
from mnist_boards import (  # type: ignore[import-not-found]  # found beside this file, which runs as a script
    DESIGNS,
    measured,
)


@dataclass(frozen=True)
class Peer:
    """NNgen's accelerator of a network; `lut` is None where nothing was synthesised."""

    cycles: int
    fmax_mhz: float
    lut: int | None

    @property
    def images_a_second(self) -> float:
        return self.fmax_mhz * 1e6 / self.cycles


@dataclass(frozen=True)
class Goal:
    """How many times faster a design must be, and how many times more LUTs it may take."""

    design: str
    faster: float
    luts: float | None


PEERS = {"784-300-100-10": Peer(270_610, 66.8, 7_183), "LeNet-5": Peer(518_962, 66.8, None)}
GOALS = {
    "784-300-100-10": (Goal("lenet-300-100-dense", 100, 2), Goal("lenet-300-100-sparse", 100, 2)),
    "LeNet-5": (Goal("lenet5-sparse", 20, None),),
}


def main() -> None:
    """Print a line a design."""
    parser = argparse.ArgumentParser(description="Against NNgen 1.3.4 on an LFE5U-85.")
    parser.add_argument("--data", help="folder of the four idx files of MNIST (default: that of the project files)")
    parser.add_argument("--work", type=Path, default=Path("build/mnist_boards"), help="keeps the trained networks")
    parser.add_argument("--images", type=int, default=100, help="test images that stream through the RTL")
    options = parser.parse_args()
    torch.set_num_threads(1)
    for network, goals in GOALS.items():
        peer = PEERS[network]
        luts = f", {peer.lut:,} LUT" if peer.lut else ""
        rate = f"{peer.images_a_second:,.0f} images/s"
        print(f"{network}, NNgen: {peer.cycles:,} cycles, {peer.fmax_mhz} MHz, {rate}{luts}", flush=True)
        for goal in goals:
            print(compared(peer, goal, options.data, options.work, options.images), flush=True)


def compared(peer: Peer, goal: Goal, data: str | None, work: Path, images: int) -> str:
    """Measure the design, and say whether it meets its goal."""
    ours = measured(DESIGNS[goal.design], data, work, images)
    found, built = ours.found, ours.built
    faster = ours.images_a_second / peer.images_a_second
    is_met = faster >= goal.faster and found.is_exact
    line = f"  {goal.design}: {ours.accuracy:.2%}, {found.mismatches} wrong bits, {built.used.lut:,} LUT"
    if goal.luts and peer.lut:
        is_met = is_met and built.used.lut <= goal.luts * peer.lut
        line += f" ({built.used.lut / peer.lut:.2f}x, goal <= {goal.luts:g}x)"
    return (
        f"{line}, {found.rtl_interval:,} cycles, {built.fmax_mhz:.1f} MHz, {ours.images_a_second:,.0f} images/s: "
        f"{faster:,.0f} times faster (goal >= {goal.faster:g}): {'met' if is_met else 'missed'}"
    )


if __name__ == "__main__":
    main()
