"""Seconds of the folding search for a network of ResNet-50's shape: 54 layers with weights, 16 residual sums.

python benchmarks/folding_search.py [--board NAME] [--narrow N] [--goal fastest|smallest|latency]
"""

from __future__ import annotations

import argparse
import time

import torch

from bitkiln.ir import Builder, Graph, Int, Location, TensorType
from bitkiln.ir.ops import Add, Conv2d, Linear, MaxPool2d, Requantise, Reshape, SumPool2d
from bitkiln.passes.board_folding import BoardFolding
from bitkiln.passes.schedule import Goal, PlanOptions, schedule_explained

WEIGHT, CODES = Int(4, True, 3), Int(4, False, 3)
IMAGE, CLASSES = (1, 3, 32, 32), 10
STAGES = ((64, 3), (128, 4), (256, 6), (512, 3))
"""Channels of the 3x3 convolutions of each stage of ResNet-50, and its blocks (He et al., 2015, table 1)."""


class Residual:
    """Bottlenecks of ResNet-50 with 1/`narrow` of its channels: random weights of 4 bits, codes of 4 bits."""

    def __init__(self, narrow: int) -> None:
        self.generator, self.build = torch.Generator().manual_seed(0), Builder("residual50")
        x = self.build.input("x", TensorType(IMAGE, CODES))
        x = self._conv(x, "stem", 64 // narrow, 3)
        for stage, (channels, blocks) in enumerate(STAGES):
            for block in range(blocks):
                stride = 2 if block == 0 and stage > 0 else 1
                x = self._bottleneck(x, f"stage{stage}.{block}", channels // narrow, stride)
        x = self.build.add(MaxPool2d((2, 2), (2, 2)), (x,), "pool")
        _, channels, height, width = self.build.types[x].shape
        x = self._coded(self.build.add(SumPool2d((height, width), (height, width)), (x,), "mean"), "mean.codes")
        x = self.build.add(Reshape((1, channels)), (x,), "flat")
        self.output = self._product(x, "fc", Linear(), (CLASSES, channels))

    def graph(self) -> Graph:
        """Return the quantised graph."""
        return self.build.graph((self.output,))

    def _bottleneck(self, x: str, name: str, channels: int, stride: int) -> str:
        y = self._conv(x, f"{name}.reduce", channels, 1)
        y = self._conv(y, f"{name}.middle", channels, 3, stride)
        y = self._conv(y, f"{name}.expand", 4 * channels, 1)
        if self.build.types[x].shape != self.build.types[y].shape:
            x = self._conv(x, f"{name}.shortcut", 4 * channels, 1, stride)
        return self._coded(self.build.add(Add(), (x, y), name, Location(module=name)), f"{name}.codes")

    def _conv(self, x: str, name: str, filters: int, kernel: int, stride: int = 1) -> str:
        padding = (kernel // 2, kernel // 2)
        shape = (filters, self.build.types[x].shape[1], kernel, kernel)
        return self._product(x, name, Conv2d((stride, stride), (padding, padding)), shape)

    def _product(self, x: str, name: str, op: Conv2d | Linear, shape: tuple[int, ...]) -> str:
        codes = torch.randint(WEIGHT.lo, WEIGHT.hi + 1, shape, generator=self.generator, dtype=torch.int8)
        weight = self.build.constant(f"{name}.weight", TensorType(shape, WEIGHT), codes)
        sums = self.build.add(op, (x, weight), name, Location(module=name))
        return self._coded(sums, f"{name}.codes")

    def _coded(self, x: str, name: str) -> str:
        number = self.build.types[x].number
        assert isinstance(number, Int)
        return self.build.add(Requantise(CODES, (number.fracs[0] - CODES.fracs[0],)), (x,), name)


def main() -> None:
    """Search once, and print the time and the choice."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--board", default="ulx3s-85f")
    parser.add_argument("--narrow", type=int, default=16, help="by what ResNet-50's channels are divided")
    parser.add_argument("--goal", type=Goal, default=Goal.FASTEST)
    arguments = parser.parse_args()
    graph = Residual(arguments.narrow).graph()
    layers = sum(isinstance(node.op, Conv2d | Linear) for node in graph.nodes)
    start = time.perf_counter()
    _, why = schedule_explained(graph, PlanOptions(board=arguments.board, goal=arguments.goal))
    seconds = time.perf_counter() - start
    assert why is not None, "a board is given"
    print(f"{layers} layers with weights, {graph.total_macs:,} MACs, {arguments.board}: {seconds:.1f} s")
    _print_choice(why)


def _print_choice(why: BoardFolding) -> None:
    print(f"{why.goal.value}: {why.interval:,} cycles an image, {'proven' if why.is_proven else 'NOT proven'}")
    print(f"uses {why.used} of {why.limits}; limited by {', '.join(why.bottleneck)}")
    if why.next_step:
        print(
            f"{why.next_step.interval:,} cycles would need {why.next_step.needed}: too little "
            f"{', '.join(kind.value for kind in why.next_step.binding)}"
        )
    for layer in why.layers:
        made_of = " ".join(choice.value for choice in (layer.multiplier, layer.storage) if choice)
        print(f"  {layer.name:18} {layer.unit:15} PE {layer.pe:3} SIMD {layer.simd:3} {layer.interval:8,} {made_of}")


if __name__ == "__main__":
    main()
