"""The XNOR array against loops that take every word in turn and compute with its bits."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitkiln.ir import ToolError
from bitkiln.sim.accelerator import Accelerator, Xnor, find_accelerator
from bitkiln.sim.counts import Level, Operation, Purpose, Role
from bitkiln.sim.engines import run_layer
from bitkiln.sim.workload import Layer, LayerKind
from bitkiln.sim.xnor import popcount_tree, xnor


@dataclass
class Loops:
    """The array, word after word: `sums` are those before the comparison."""

    layer: Layer
    engine: Xnor
    tile: int  # pixels in a row that are computed together
    cycles: int = 0
    weight_reads: int = 0
    activation_reads: int = 0
    gates: int = 0
    additions: Counter[Purpose] = field(default_factory=Counter)

    def run(self, weights: np.ndarray, activations: np.ndarray) -> np.ndarray:
        """`weights` [filters, channels, kernel] and `activations` [images, channels, height, width] are bits."""
        layer, engine = self.layer, self.engine
        pixels = list(np.ndindex(layer.batch, *layer.output))
        sums = np.zeros((layer.filters, len(pixels)), int)
        words = [
            (slice(at, min(at + engine.word_bits, layer.channels)), row, column)
            for row, column in np.ndindex(*layer.kernel)
            for at in range(0, layer.channels, engine.word_bits)
        ]
        for first in range(0, layer.filters, engine.lanes):
            lanes = range(first, min(first + engine.lanes, layer.filters))
            for block in self._blocks(len(pixels)):
                for channels, row, column in words:
                    held = weights[first : lanes.stop, channels, row, column]
                    self.weight_reads += held.size
                    for at in block:
                        image, y, x = pixels[at]
                        word = activations[image, channels, y * layer.stride[0] + row, x * layer.stride[1] + column]
                        self.activation_reads += word.size
                        self.cycles += 1
                        for lane, bits in zip(lanes, held, strict=True):
                            sums[lane, at] += self._count(~(bits ^ word) & 1)
        return 2 * sums - layer.taps

    def _blocks(self, pixels: int) -> Iterator[range]:
        """Pixels whose sums a lane keeps at a time; none are of two tiles."""
        image = max(self.tile, math.prod(self.layer.output))
        tiles = [at + tile for at in range(0, pixels, image) for tile in range(0, image, self.tile)]
        for tile, after in zip(tiles, [*tiles[1:], pixels], strict=True):
            end = min(after, pixels)
            for at in range(tile, end, self.engine.accumulators):
                yield range(at, min(at + self.engine.accumulators, end))

    def _count(self, products: np.ndarray) -> int:
        """Add up pairs, pairs of pairs ..."""
        self.gates += products.size
        terms = products.tolist()
        while len(terms) > 1:
            self.additions[Purpose.TREE] += len(terms) // 2
            terms = [sum(terms[at : at + 2]) for at in range(0, len(terms), 2)]
        self.additions[Purpose.ACCUMULATE] += 1
        return int(terms[0])


@st.composite
def cases(draw: st.DrawFn) -> tuple[Layer, Xnor]:
    kernel, stride = (draw(st.integers(1, 2)), draw(st.integers(1, 2))), (draw(st.integers(1, 2)),) * 2
    layer = Layer(
        "layer",
        LayerKind.CONVOLUTION,
        kernel[0] + draw(st.integers(0, 3)),
        kernel[1] + draw(st.integers(0, 3)),
        channels=draw(st.integers(1, 9)),
        filters=draw(st.integers(1, 7)),
        kernel=kernel,
        stride=stride,
        batch=draw(st.integers(1, 2)),
    )
    return layer, Xnor(draw(st.sampled_from((2, 4, 8))), draw(st.integers(1, 4)), draw(st.integers(1, 5)))


def array(engine: Xnor) -> Accelerator:
    return replace(find_accelerator("xnor-array"), xnor=engine)


def pixels_of_a_tile(layer: Layer, mapping: str) -> int:
    count, what = mapping.split()[:2]
    return int(count) * layer.output[1] * (layer.output[0] if what == "images" else 1)


@settings(max_examples=80, deadline=None)
@given(case=cases(), seed=st.integers(0, 2**32))
def test_cycles_and_counts_are_those_of_the_loops(case: tuple[Layer, Xnor], seed: int) -> None:
    layer, engine = case
    generator = np.random.default_rng(seed)
    weights = generator.integers(0, 2, (layer.filters, layer.channels, *layer.kernel))
    activations = generator.integers(0, 2, (layer.batch, layer.channels, layer.height, layer.width))
    run = run_layer(layer, array(engine))
    loops = Loops(layer, engine, pixels_of_a_tile(layer, run.mapping))
    result = loops.run(weights, activations)
    for at, (image, y, x) in enumerate(np.ndindex(layer.batch, *layer.output)):
        top, left = y * layer.stride[0], x * layer.stride[1]
        window = activations[image, :, top : top + layer.kernel[0], left : left + layer.kernel[1]]
        assert result[:, at].tolist() == ((2 * weights - 1) * (2 * window - 1)).sum(axis=(1, 2, 3)).tolist()

    assert run.compute_cycles == loops.cycles + 4 + int(math.log2(engine.word_bits))
    totals = Counter({item.purpose: 0 for item in run.counts.arithmetic})
    for item in run.counts.arithmetic:
        totals[item.purpose] += item.count
    assert totals[Purpose.PRODUCT] == loops.gates == layer.macs == run.performed_macs
    assert totals[Purpose.TREE] == loops.additions[Purpose.TREE]
    assert totals[Purpose.ACCUMULATE] == loops.additions[Purpose.ACCUMULATE]
    assert totals[Purpose.RESCALE] == layer.output_count
    reads = {
        access.memory.role: access.reads
        for access in run.counts.accesses
        if access.memory.level is Level.SRAM and access.reads
    }
    assert reads[Role.WEIGHTS] == loops.weight_reads
    assert reads[Role.ACTIVATIONS] == loops.activation_reads


def test_tree_counts_five_bits_by_hand() -> None:
    """Two additions of bits, one of 2-bit sums, one of that and what was left over: 5 = (1+1) + (1+1) + 1."""
    assert list(popcount_tree(5)) == [(1, 2), (2, 1), (3, 1)]
    assert list(popcount_tree(1)) == []


@pytest.mark.parametrize(("word_bits", "cycles"), [(64, 18), (128, 9), (256, 9)])
def test_wider_words_save_cycles_until_they_hold_all_channels(word_bits: int, cycles: int) -> None:
    layer = Layer("conv", LayerKind.CONVOLUTION, 3, 3, 128, 128, (3, 3))
    run = xnor(layer, Xnor(word_bits, 128, 1), find_accelerator("xnor-array"))
    assert run.compute_cycles == cycles + 4 + int(math.log2(word_bits))


def test_gates_have_no_sourced_energy_and_say_so() -> None:
    from bitkiln.sim.technologies import find_technology  # noqa: PLC0415

    assert [price.is_sourced for price in find_technology("45nm").logic] == [False] * 3
    run = run_layer(Layer("fc", LayerKind.MATRIX, 1, 1, 256, 256), find_accelerator("xnor-array"))
    assert run.counts.operations(Operation.LOGIC) == 256 * 256
    assert run.counts.operations(Operation.MULTIPLY) == 0


@pytest.mark.parametrize(("what", "weights", "activations"), [("weights", 8, 1), ("activations", 1, 4)])
def test_more_than_one_bit_is_refused(what: str, weights: int, activations: int) -> None:
    layer = Layer("conv1", LayerKind.CONVOLUTION, 8, 8, 3, 4, (3, 3), weight_bits=weights, activation_bits=activations)
    with pytest.raises(ToolError) as error:
        run_layer(layer, find_accelerator("xnor-array"))
    assert str(error.value.diagnostics[0]) == (
        f"error[unmappable-layer]: xnor-array cannot compute the layer conv1: its {what} have "
        f"{max(weights, activations)} bits, and an XNOR multiplies one bit with one\n"
        "  help: engines that can: systolic, vector, row_stationary, zero_skip"
    )
