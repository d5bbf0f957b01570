"""The search for the best row-stationary mapping: all loops of the chip, all uses of its sets and scratch pads."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from bitkiln.ir import ToolError, fail

from ._rows import Mapping, Problem, Sets, Use
from ._tiles import LEAST_SHARE, sizes
from .accelerator import Accelerator, Operand, RowStationary
from .technology import Technology


@dataclass(frozen=True)
class Prices:
    """What the search counts a bit for at each level.

    By default those outside the array count, with the ratio of Chen et al., ISCA 2016, Fig. 7c: so a mapping depends on
    the design alone, and its energy is linear in a technology's table.
    """

    dram: float = 200.0
    buffer: float = 6.0
    network: float = 0.0
    pad: float = 0.0

    @classmethod
    def of(cls, technology: Technology, accelerator: Accelerator) -> Prices:
        """Return the energies of a technology; the buffer's are those of the largest."""
        largest = max(sram.bank_bits for sram in accelerator.sram)
        network = technology.network_pj_per_bit() if technology.network else 0.0
        pad = technology.register.pj_per_bit
        return cls(technology.dram.pj_per_bit, technology.sram_pj_per_bit(largest), network, pad)


def find_mapping(problem: Problem, prices: Prices, least_share: float = LEAST_SHARE) -> Mapping:
    """Return the mapping whose moves cost the least, among those that are fast enough; of equal ones the fastest.

    Fast enough is what has `least_share` of the speed of the fastest one. The numbers of images and of filters in the
    buffer are divisors. Raises `sram-too-small` and `pads-too-small`.
    """
    _check_pads(problem)
    options = list(all_sets(problem))
    slowest = min(fewest_cycles(problem, option) for option in options) / least_share
    for limit in (slowest, math.inf):
        best, least = None, (math.inf, math.inf)
        for cost, option, images, filters in _by_traffic(problem, options, prices):
            if cost > least[0]:  # and so are all that follow
                break
            found = _inner(Mapping(problem, option, images, filters, _uses(problem, option, filters)), prices, limit)
            if found is not None and (cost + found[0], found[1]) < least:
                least, best = (cost + found[0], found[1]), found[2]
        if best is not None:
            return best
    raise _too_small(problem, options)


def _check_pads(problem: Problem) -> None:
    """One filter row, one input window and one sum must fit into a cell."""
    array, width = problem.array, problem.layer.kernel[1]
    needs = [("shared_words", 2 * width + 1, array.shared_words)]
    if not array.shared_words:
        needs = [
            ("weight_words", width, array.weight_words),
            ("activation_words", width, array.activation_words),
            ("partial_sum_words", 1, array.partial_sum_words),
        ]
    for name, needed, available in needs:
        if needed > available:
            message = f"layer {problem.layer.name} has filter rows of {width} values, for which {name} of "
            detail = f"{message}{problem.accelerator.name} must be at least {needed}, not {available}"
            hint = f"raise {name}; engines without scratch pads: systolic, vector, zero_skip"
            raise fail("pads-too-small", detail, hint=hint)


def all_sets(problem: Problem) -> Iterator[Sets]:
    """Give strips of every useful height. One wider than the array continues in the sets below it."""
    array, height = problem.array, problem.layer.output[0]
    folds = -(-problem.layer.kernel[0] // array.rows)
    filter_rows = -(-problem.layer.kernel[0] // folds)
    stacked = array.rows // filter_rows
    for rows in (int(size) for size in sizes(height)):
        segments = -(-rows // array.columns)
        if segments <= stacked:
            sets = stacked // segments * max(1, array.columns // rows)
            yield Sets(rows, -(-height // rows), filter_rows, folds, sets)


def _divisors(number: int) -> list[int]:
    low = [part for part in range(1, math.isqrt(number) + 1) if number % part == 0]
    return sorted({*low, *(number // part for part in low)})


def _by_traffic(problem: Problem, options: list[Sets], prices: Prices) -> list[tuple[float, Sets, int, int]]:
    """Cost of the DRAM traffic of every (sets, images, filters), the least first."""
    layer, widths = problem.layer, problem.widths
    found: list[tuple[float, Sets, int, int]] = []
    for option in options:
        inputs = layer.batch * layer.channels * problem.strip_inputs(option.rows)[1] * widths.activation
        for images in _divisors(layer.batch):
            weights = layer.weight_count * (layer.batch // images) * option.strips * widths.weight
            for filters in _divisors(layer.group_filters):
                bits = weights + inputs * (layer.group_filters // filters)
                found.append((bits * prices.dram, option, images, filters))
    return sorted(found, key=lambda entry: entry[0])


def _spots(problem: Problem, option: Sets, filters: int) -> tuple[NDArray[np.int64], ...]:
    """All (filters, channels, groups) at a time that fill the sets as far as the layer can; one set, as the last."""
    t = sizes(filters)
    t = np.append(t[t <= option.sets], 1)
    r = np.minimum(option.sets // t, problem.channels)
    u = np.minimum(option.sets // (t * r), problem.layer.groups)
    r[-1] = u[-1] = 1
    return t, r, u


def fewest_cycles(problem: Problem, option: Sets) -> int:
    """Return the cycles of the fastest use of the sets, whatever it moves."""
    filters = problem.layer.group_filters
    t, r, u = _spots(problem, option, filters)
    one = np.ones_like(t)
    return int(Mapping(problem, option, 1, filters, Use(t, r, u, one, one)).cycles.min())


@lru_cache(maxsize=256)
def _pads(array: RowStationary, width: int, filters: int, channels: int) -> tuple[NDArray[np.int64], ...]:
    """All (filters, channels) in a cell into whose pads filter rows, input windows and sums fit."""
    p, q = (axis.ravel() for axis in np.meshgrid(sizes(filters), sizes(channels)))
    if array.shared_words:
        fits = p * q * width + q * width + p <= array.shared_words
    else:
        fits = (p * q * width <= array.weight_words) & (q * width <= array.activation_words)
        fits &= p <= array.partial_sum_words
    return p[fits], q[fits]


def _uses(problem: Problem, option: Sets, filters: int) -> Use:
    """All uses of the sets with all uses of the pads."""
    p, q = _pads(problem.array, problem.layer.kernel[1], filters, problem.channels)
    t, r, u = _spots(problem, option, filters)
    spot, pad = (axis.ravel() for axis in np.indices((len(t), len(p))))
    return Use(t[spot], r[spot], u[spot], p[pad], q[pad])


def _inner(every: Mapping, prices: Prices, limit: float) -> tuple[float, int, Mapping] | None:
    """Cost beside DRAM, cycles and the best use of sets and pads; None if none fits and is fast enough."""
    cycles = every.cycles
    fits = np.flatnonzero(_fits(every) & (cycles <= limit))
    if not len(fits):
        return None
    left = Mapping(every.problem, every.sets, every.images, every.filters, every.use.take(fits))
    cost = _cost(left, prices)
    best = int(np.lexsort((cycles[fits], cost))[0])
    chosen = Mapping(every.problem, every.sets, every.images, every.filters, left.use.take(np.array([best])))
    return float(cost[best]), int(cycles[fits][best]), chosen


def _cost(mapping: Mapping, prices: Prices) -> NDArray[np.float64]:
    """Cost of the moves between buffer, network and pads."""
    widths = mapping.problem.widths
    weights, inputs, sums = widths.weight, widths.activation, widths.accumulator
    buffer = mapping.buffer_inputs * inputs + 2 * mapping.sum_writes * sums
    delivered = mapping.delivered_inputs * inputs + mapping.delivered_weights * weights
    cost: NDArray[np.float64] = buffer * prices.buffer + delivered * (prices.network + prices.pad)
    return cost + mapping.passed_sums * sums * prices.network


def _fits(mapping: Mapping) -> NDArray[np.bool_]:
    """Whether sums of the tile, inputs of a pass and filters of a pass fit into the buffers."""
    problem, use = mapping.problem, mapping.use
    layer, widths = problem.layer, problem.widths
    channels = use.pad_channels * use.set_channels * use.set_groups
    result = np.ones(len(channels), bool)
    for sram in problem.accelerator.sram:
        bits = np.zeros(len(channels), np.int64)
        if Operand.WEIGHTS in sram.holds:
            bits = bits + channels * use.pad_filters * use.set_filters * math.prod(layer.kernel) * widths.weight
        if Operand.ACTIVATIONS in sram.holds:
            bits = bits + mapping.images * channels * problem.strip_inputs(mapping.sets.rows)[0] * widths.activation
        if Operand.OUTPUTS in sram.holds:
            sums = mapping.filters * mapping.sets.rows * layer.output[1]
            bits = bits + mapping.images * use.set_groups * sums * widths.accumulator
        result &= bits <= sram.capacity_bits
    return result


def _too_small(problem: Problem, options: list[Sets]) -> ToolError:
    layer, widths = problem.layer, problem.widths
    rows = min(option.rows for option in options)
    needs = []
    for sram in problem.accelerator.sram:
        bits = 0
        if Operand.WEIGHTS in sram.holds:
            bits += math.prod(layer.kernel) * widths.weight
        if Operand.ACTIVATIONS in sram.holds:
            bits += problem.strip_inputs(rows)[0] * widths.activation
        if Operand.OUTPUTS in sram.holds:
            bits += rows * layer.output[1] * widths.accumulator
        if bits > sram.capacity_bits:
            holds = " and ".join(operand.value for operand in sram.holds)
            needs.append(f"the sram for {holds} needs {-(-bits // 8):,} bytes, not {sram.capacity_bytes:,}")
    message = f"layer {layer.name} does not fit on {problem.accelerator.name} with the smallest tile"
    detail = f"{message}, one strip of one filter and one channel: {'; '.join(needs)}"
    return fail("sram-too-small", detail, hint="raise capacity_bytes of the sram in the accelerator's file")
