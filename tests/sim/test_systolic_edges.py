"""What a systolic array reads and writes at its edges, and its cycles, against loops over tiles, folds and values."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitkiln.sim._tiles import Setting, tilings, with_fewer_channels
from bitkiln.sim.accelerator import Dataflow, Systolic, find_accelerator
from bitkiln.sim.counts import Level, Role
from bitkiln.sim.engine import widths_of
from bitkiln.sim.systolic import systolic, tiled_cycles
from bitkiln.sim.workload import Layer
from tests.sim.networks import convolution, layers


def spans(total: int, size: int) -> list[int]:
    return [min(size, total - start) for start in range(0, total, size)]


@dataclass
class Edges:
    """Counts of values; a sum that is there already is read before the next one is added to it."""

    weights: int = 0
    activations: int = 0
    sum_reads: int = 0
    sum_writes: int = 0
    cycles: int = 0

    def product(self, array: Systolic, positions: int, taps: int, filters: int, *, is_first: bool) -> None:
        """One tile as a product of matrices, fold by fold."""
        rows, columns = array.rows, array.columns
        match array.dataflow:
            case Dataflow.WEIGHT_STATIONARY:
                for number, k in enumerate(spans(taps, rows)):
                    for n in spans(filters, columns):
                        self._fold(k * n, positions * k, positions * n, is_new=is_first and number == 0)
                        self.cycles += rows + (rows + columns + positions - 2)
            case Dataflow.OUTPUT_STATIONARY:
                for p in spans(positions, rows):
                    for n in spans(filters, columns):
                        self._fold(taps * n, p * taps, p * n, is_new=is_first)
                        self.cycles += rows + columns + taps - 2
            case Dataflow.INPUT_STATIONARY:
                for number, k in enumerate(spans(taps, rows)):
                    for p in spans(positions, columns):
                        self._fold(k * filters, k * p, p * filters, is_new=is_first and number == 0)
                        self.cycles += rows + (rows + columns + filters - 2)

    def _fold(self, weights: int, activations: int, sums: int, *, is_new: bool) -> None:
        self.weights += weights
        self.activations += activations
        self.sum_writes += sums
        self.sum_reads += 0 if is_new else sums


def count(layer: Layer, array: Systolic, images: int, rows: int, filters: int, channels: int) -> Edges:
    """All tiles of a layer; the order of the loops does not matter to the edges."""
    height, width = layer.output
    places = [n * h * width for n in spans(layer.batch, images) for h in spans(height, rows)]
    edges = Edges()
    for _ in range(layer.groups):
        for positions in places:
            for n in spans(layer.group_filters, filters):
                for number, c in enumerate(spans(layer.channels // layer.groups, channels)):
                    taps = c * layer.kernel[0] * layer.kernel[1]
                    edges.product(array, positions, taps, n, is_first=number == 0)
    return edges


@pytest.mark.parametrize("dataflow", Dataflow)
@settings(max_examples=25, deadline=None)
@given(layer=layers(most=9), kilobytes=st.sampled_from((0.25, 0.5, 2.0)))
def test_every_tiling(dataflow: Dataflow, layer: Layer, kilobytes: float) -> None:
    """The search sees the same numbers as the loops count."""
    array = Systolic(4, 3, dataflow)
    chip = find_accelerator("systolic-32")
    srams = (replace(s, capacity_bytes=round(4096 * kilobytes), word_bits=8, ports=1 << 20) for s in chip.sram)
    chip = replace(chip, systolic=array, sram=tuple(srams))
    setting = Setting(layer, widths_of(layer, chip), chip, 3, 1)
    found = with_fewer_channels(setting, tilings(setting))
    cycles = tiled_cycles(layer, array, found)
    generator = np.random.default_rng(1)
    for at in generator.integers(0, len(found.filters), 12):
        one = found.take(np.array([at]))
        parts = (one.cuts.images, one.cuts.rows, one.filters, one.channels)
        expected = count(layer, array, *(int(part[0]) for part in parts))
        assert cycles[at] == expected.cycles


@pytest.mark.parametrize("dataflow", Dataflow)
@settings(max_examples=25, deadline=None)
@given(layer=st.one_of(layers(most=9), st.just(convolution(9, 6, 6, 3, padding=1, groups=6))))
def test_what_is_reported(dataflow: Dataflow, layer: Layer) -> None:
    array = Systolic(4, 3, dataflow)
    chip = find_accelerator("systolic-32")
    srams = (replace(s, capacity_bytes=4096, word_bits=8, ports=1 << 20) for s in chip.sram)
    run = systolic(layer, array, replace(chip, systolic=array, sram=tuple(srams)))
    part, filters, channels, *_ = run.mapping.replace(";", " x").split(" x ")
    size, what = part.split()
    images, rows = (int(size), layer.output[0]) if what == "images" else (1, int(size))
    expected = count(layer, array, images, rows, int(filters.split()[0]), int(channels.split()[0]))
    sram = {a.memory.role: a for a in run.counts.accesses if a.memory.level is Level.SRAM}
    dram = {a.memory.role: a for a in run.counts.accesses if a.memory.level is Level.DRAM}
    spilled = dram[Role.PARTIAL_SUMS].writes if Role.PARTIAL_SUMS in dram else 0
    assert sram[Role.WEIGHTS].reads == expected.weights
    assert sram[Role.ACTIVATIONS].reads == expected.activations
    # Finished sums, and those that leave meanwhile, are read to leave; these are written again when they come back.
    assert sram[Role.PARTIAL_SUMS].reads == expected.sum_reads + layer.output_count + spilled
    assert sram[Role.PARTIAL_SUMS].writes == expected.sum_writes + spilled
