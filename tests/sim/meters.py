"""Counts by brute force: each unit walked step by step, one meter tick for each thing that its circuit does.

The walks compute the results, too, so that a test can see that they are the unit's work and not another one's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from bitkiln.ir.units import AddStreams, MatrixVector, Pool, Reduction, Rescale, RescaleStream, TopKStream, Window
from bitkiln.sim.counts import Access, Arithmetic, Counts, Level, Memory, Operation, Purpose, Role

Codes = NDArray[np.int64]


@dataclass
class Meter:
    """Ticks of operations and accesses; `addresses` are the places of each memory that were touched."""

    arithmetic: list[Arithmetic] = field(default_factory=list)
    moves: dict[tuple[Level, Role, int], list[int]] = field(default_factory=dict)
    addresses: dict[tuple[Level, Role, int], set[int]] = field(default_factory=dict)

    def operate(self, operation: Operation, purpose: Purpose, a_bits: int, b_bits: int) -> None:
        self.arithmetic.append(Arithmetic(operation, purpose, (a_bits, b_bits), 1))

    def read(self, level: Level, role: Role, word_bits: int, address: int) -> None:
        self._move(level, role, word_bits, address, 0)

    def write(self, level: Level, role: Role, word_bits: int, address: int) -> None:
        self._move(level, role, word_bits, address, 1)

    def _move(self, level: Level, role: Role, word_bits: int, address: int, direction: int) -> None:
        key = (level, role, word_bits)
        self.moves.setdefault(key, [0, 0])[direction] += 1
        self.addresses.setdefault(key, set()).add(address)

    def counts(self) -> Counts:
        """A memory is as large as the places that were touched."""
        accesses = [
            Access(Memory("", level, role, len(self.addresses[key]) * word_bits, word_bits), *moved)
            for key, moved in self.moves.items()
            for level, role, word_bits in [key]
        ]
        return Counts(tuple(self.arithmetic), tuple(accesses)).merged()


Wide = tuple[int, int]
"""A value and the bits of the wire that carries it."""


def walk_matrix_vector(unit: MatrixVector, x: Codes, meter: Meter) -> list[int]:
    """`x` is [vectors, groups, columns]; returns the accumulators before requantisation, in the order of the output."""
    results = []
    weights = unit.weights.reshape(unit.groups, unit.rows, unit.columns)
    bias = unit.bias.reshape(unit.groups, unit.rows)
    selector_bits = len(f"{len(set(unit.shift)) - 1:b}") if len(set(unit.shift)) > 1 else 0
    has_replay = unit.rows > unit.pe and unit.columns > unit.simd
    rounds = range(unit.rows // unit.pe)
    for vector in range(unit.vectors):
        for group in range(unit.groups):
            for turn in rounds:
                rows = range(turn * unit.pe, (turn + 1) * unit.pe)
                accumulators = [int(bias[group, row]) for row in rows]
                if unit.groups * len(rounds) > 1:
                    constants = unit.pe * (unit.accumulator_bits + selector_bits)
                    meter.read(Level.SRAM, Role.ROW_CONSTANTS, constants, group * len(rounds) + turn)
                for first in range(0, unit.columns, unit.simd):
                    columns = range(first, first + unit.simd)
                    if has_replay:
                        move = meter.read if turn else meter.write
                        move(Level.SRAM, Role.REPLAY_BUFFER, unit.simd * unit.input_bits, first)
                    _read_weights(unit, meter, (group * unit.rows + turn * unit.pe) * unit.columns + first)
                    for lane, row in enumerate(rows):
                        terms = [_product(unit, x[vector, group, c], weights[group, row, c], meter) for c in columns]
                        meter.read(Level.REGISTER, Role.ACCUMULATOR, unit.accumulator_bits, lane)
                        meter.operate(Operation.ADD, Purpose.ACCUMULATE, unit.accumulator_bits, unit.accumulator_bits)
                        accumulators[lane] += _tree_sum(terms, meter)
                        meter.write(Level.REGISTER, Role.ACCUMULATOR, unit.accumulator_bits, lane)
                results += accumulators
                _limit(unit, meter)
    return results


def _limit(unit: MatrixVector, meter: Meter) -> None:
    """Both limits of each lane, if the unit requantises."""
    for _ in range(2 * unit.pe if unit.shift else 0):
        bits = max(max(1, unit.accumulator_bits - shift) for shift in unit.shift)
        meter.operate(Operation.COMPARE, Purpose.RESCALE, bits, bits)


def _read_weights(unit: MatrixVector, meter: Meter, address: int) -> None:
    if unit.weights.size > unit.pe * unit.simd:
        meter.read(Level.SRAM, Role.WEIGHTS, unit.pe * unit.simd * unit.weight_bits, address)


def _product(unit: MatrixVector, x: np.int64, weight: np.int64, meter: Meter) -> Wide:
    meter.operate(Operation.MULTIPLY, Purpose.PRODUCT, unit.input_bits, unit.weight_bits)
    return int(x) * int(weight), unit.input_bits + unit.weight_bits


def _tree_sum(terms: Sequence[Wide], meter: Meter) -> int:
    """Neighbours are added level by level; a last one without a neighbour goes up as it is."""
    if len(terms) == 1:
        return terms[0][0]
    level: list[Wide] = []
    for n in range(0, len(terms), 2):
        if n + 1 == len(terms):
            level.append(terms[n])
            continue
        (a, a_bits), (b, b_bits) = terms[n], terms[n + 1]
        meter.operate(Operation.ADD, Purpose.TREE, a_bits, b_bits)
        level.append((a + b, max(a_bits, b_bits) + 1))
    return _tree_sum(level, meter)


def walk_window(unit: Window, x: Codes, meter: Meter) -> list[int]:
    """`x` is [height, width, channels]; returns all elements that the windows give, in order."""
    beats = unit.channels // unit.lanes
    ring = (unit.dilation[0] * (unit.kernel[0] - 1) + 1 + unit.stride[0]) * unit.width * beats
    for number in range(ring):  # later images reach the places that a small first one leaves out
        meter.addresses.setdefault((Level.SRAM, Role.LINE_BUFFER, unit.lanes * unit.bits), set()).add(number)
    for number in range(unit.height * unit.width * beats):
        meter.write(Level.SRAM, Role.LINE_BUFFER, unit.lanes * unit.bits, number % ring)
    results: list[int] = []
    for top in range(-unit.padding[0], -unit.padding[0] + unit.output_size[0] * unit.stride[0], unit.stride[0]):
        for left in range(-unit.padding[1], -unit.padding[1] + unit.output_size[1] * unit.stride[1], unit.stride[1]):
            for group in range(unit.groups):
                channels = range(group * unit.channels // unit.groups, (group + 1) * unit.channels // unit.groups)
                for row in range(top, top + unit.dilation[0] * unit.kernel[0], unit.dilation[0]):
                    for column in range(left, left + unit.dilation[1] * unit.kernel[1], unit.dilation[1]):
                        inside = 0 <= row < unit.height and 0 <= column < unit.width
                        for channel in channels:
                            results.append(int(x[row, column, channel]) if inside else unit.pad_code)
                            if channel % unit.lanes == 0:
                                meter.read(Level.SRAM, Role.LINE_BUFFER, unit.lanes * unit.bits, 0)
    return results


def walk_pool(unit: Pool, x: Codes, meter: Meter) -> list[int]:
    """`x` is [results, window, lanes]; returns the maxima or sums, rescaled if the unit does so."""
    is_sum = unit.reduction is Reduction.SUM
    bits = unit.input_bits + (len(f"{unit.window:b}") if is_sum else 0)
    results = []
    for elements in x:
        for lane in range(unit.lanes):
            best = 0
            for number, element in enumerate(elements[:, lane]):
                if number == 0:
                    best = int(element)
                else:
                    meter.read(Level.REGISTER, Role.ACCUMULATOR, bits, lane)
                    operation = Operation.ADD if is_sum else Operation.COMPARE
                    meter.operate(operation, Purpose.REDUCE, bits, unit.input_bits)
                    best = best + int(element) if is_sum else max(best, int(element))
                meter.write(Level.REGISTER, Role.ACCUMULATOR, bits, lane)
            meter.read(Level.REGISTER, Role.ACCUMULATOR, bits, lane)
            results.append(walk_rescale(unit.rescale, best, bits, meter))
    return results


def walk_add(unit: AddStreams, a: Codes, b: Codes, meter: Meter) -> list[int]:
    """`a` and `b` are elements in order; returns their sums."""
    results = []
    for left, right in zip(a, b, strict=True):
        bits = unit.a.bits + unit.shifts[0], unit.b.bits + unit.shifts[1]
        meter.operate(Operation.ADD, Purpose.JOIN, *bits)
        total = (int(left) << unit.shifts[0]) + (int(right) << unit.shifts[1])
        results.append(walk_rescale(unit.rescale, total, 1 + max(bits), meter))
    return results


def walk_rescale_stream(unit: RescaleStream, x: Codes, meter: Meter) -> list[int]:
    """`x` are the elements in order."""
    return [walk_rescale(unit.rescale, int(element), unit.input_bits, meter) for element in x]


def walk_rescale(rescale: Rescale | None, value: int, bits: int, meter: Meter) -> int:
    """One element: multiply, add half, shift, and two comparisons."""
    if rescale is None:
        return value
    if rescale.multiplier != 1:
        meter.operate(Operation.MULTIPLY, Purpose.RESCALE, bits, len(f"{rescale.multiplier:b}"))
        value, bits = value * rescale.multiplier, bits + len(f"{rescale.multiplier:b}")
    if rescale.shift > 0:
        meter.operate(Operation.ADD, Purpose.RESCALE, bits, rescale.shift)  # half has a one at bit shift - 1
        value, bits = value + 2 ** (rescale.shift - 1), bits + 1
    value = value >> rescale.shift if rescale.shift > 0 else value << -rescale.shift
    bits = max(1, bits - rescale.shift)
    for _ in ("lo", "hi"):
        meter.operate(Operation.COMPARE, Purpose.RESCALE, bits, bits)
    return min(max(value, rescale.lo), rescale.hi)


def walk_top_k(unit: TopKStream, x: Codes, meter: Meter) -> list[int]:
    """`x` are the elements, ascending: then every step moves all, which is what the counts assume."""
    best: list[tuple[int, int]] = []
    for number, element in enumerate(x):
        for other in range(len(best)):
            meter.read(Level.REGISTER, Role.ACCUMULATOR, unit.input_bits, other)
            meter.operate(Operation.COMPARE, Purpose.REDUCE, unit.input_bits, unit.input_bits)
        place = sum(int(element) <= value for value, _ in best)
        for moved in range(place, min(len(best) + 1, unit.k)):
            if moved > place:
                meter.read(Level.REGISTER, Role.ACCUMULATOR, unit.bits, moved - 1)
            meter.write(Level.REGISTER, Role.ACCUMULATOR, unit.input_bits, moved)
            meter.write(Level.REGISTER, Role.ACCUMULATOR, unit.bits, moved)
        best = [*best[:place], (int(element), number), *best[place:]][: unit.k]
    for left in range(unit.k, 0, -1):
        meter.read(Level.REGISTER, Role.ACCUMULATOR, unit.bits, 0)
        for place in range(left - 1):
            meter.read(Level.REGISTER, Role.ACCUMULATOR, unit.bits, place + 1)
            meter.write(Level.REGISTER, Role.ACCUMULATOR, unit.bits, place)
    return [number for _, number in best]
