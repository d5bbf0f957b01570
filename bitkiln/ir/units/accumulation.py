"""What a matrix-vector unit's accumulators hold: sums of cheap terms, with the constants of each row moved ahead.

A bipolar product is an XNOR and a term is 0 or 1, so a sum S of n products is 2 * (ones) - n. An input that a weight of
-1 negates is only inverted, which lacks 1. A first threshold is subtracted ahead, so that it becomes a sign.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bitkiln.ir.numbers import Int

from ._unit import Beat
from .matrix_vector import MatrixVector, Products

Rows = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Accumulation:
    """The sum of row r with its bias is scale * (accumulator - start of the first threshold) + parity[r].

    `start` is where the accumulator begins; `rest` [rows, n - 1] are the thresholds behind the first, as distances
    from it. Every partial sum fits `bits` signed bits.
    """

    scale: int
    start: Rows
    parity: Rows
    rest: Rows
    bits: int

    @classmethod
    def of(cls, unit: MatrixVector) -> Accumulation:
        scale = 2 if unit.products in (Products.COUNT, Products.SELECT) else 1
        constant = unit.bias + _offset(unit)
        start, parity = (constant >> 1, constant & 1) if scale == 2 else (constant, np.zeros_like(constant))
        rest = np.zeros((len(start), 0), np.int64)
        if unit.thresholds:
            # 2 * a + parity >= t if and only if a >= ceil((t - parity) / 2)
            values = unit.thresholds.values
            values = (values - parity[:, None] + 1) >> 1 if scale == 2 else values
            start, rest = start - values[:, 0], values[:, 1:] - values[:, :1]
        return cls(scale, start, parity, rest, _bits(unit, start, rest))


def _offset(unit: MatrixVector) -> Rows:
    """What a row's sum of terms, times the scale, lacks to be its sum of products."""
    offset: Rows = np.zeros(len(unit.weights), np.int64)
    match unit.products:
        case Products.COUNT:
            offset = -np.abs(unit.weights).sum(1)
        case Products.SELECT:
            offset = -unit.weights.sum(1)
        case Products.SIGN | Products.SHIFT:
            offset = (unit.weights < 0).sum(1)
        case Products.MULTIPLY:
            pass
    return offset


def _bits(unit: MatrixVector, start: Rows, rest: Rows) -> int:
    if unit.products is Products.MULTIPLY:
        return unit.accumulator_bits + (unit.thresholds is not None)
    low, high = _term_sums(unit)
    ends = [start, start + low, start + high, rest]
    if unit.renewable:  # any weights, and a bias as large as the largest sum of products
        inputs = Beat(1, unit.input_bits, unit.input_signed, unit.input_bipolar).code_range
        most = 2 * unit.columns * (unit.largest_weight * max(map(abs, inputs)) + 1)
        ends.append(np.array([-most, most]))
    lo, hi = min(int(end.min(initial=0)) for end in ends), max(int(end.max(initial=0)) for end in ends)
    return Int.holding(lo, hi, signed=True).bits


def _term_sums(unit: MatrixVector) -> tuple[Rows, Rows]:
    """The least and the greatest partial sum of each row's terms."""
    weights = unit.weights
    match unit.products:
        case Products.COUNT:
            return np.zeros(len(weights), np.int64), np.abs(weights).sum(1)
        case Products.SELECT:
            return np.minimum(weights, 0).sum(1), np.maximum(weights, 0).sum(1)
        case Products.SIGN | Products.SHIFT:
            lo, hi = Beat(1, unit.input_bits, unit.input_signed).code_range
            plain, inverted = np.maximum(weights, 0).sum(1), np.maximum(-weights, 0).sum(1)
            low = plain * min(lo, 0) - inverted * max(hi, 0) - (weights < 0).sum(1)
            return low, plain * max(hi, 0) - inverted * min(lo, 0)
        case Products.MULTIPLY:
            raise AssertionError("the unit says how wide these are")


def parity_of(accumulation: Accumulation) -> int | None:
    """The parity that all rows share, or None."""
    values = set(accumulation.parity.tolist())
    return values.pop() if len(values) == 1 else None
