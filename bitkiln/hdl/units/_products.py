"""One sum of SIMD products a row, registered after the products and after each level of the tree."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from amaranth.hdl import Cat, Const, Module, Mux, Value, signed

from bitkiln.ir.units import MatrixVector, Multiplier, Products, WeightCode, count_stages

from ._carry_chain import Pair
from ._count import Counter, CountForm
from ._packing import dual_products, shared_sums
from ._parts import registered, tree
from ._target import Target


def summed_products(
    m: Module, unit: MatrixVector, x: Sequence[Value], weights: Sequence[Value], target: Target, clock_hz: float
) -> list[Value]:
    """Return each row's sum of terms (see `Accumulation`), 2 + `unit.term_stages` cycles later.

    The operands are registered once, products and each level of the tree, too.
    """
    packing = unit.packing if unit.products is Products.MULTIPLY else None
    if packing and not packing.is_shared and target is Target.ICE40:
        products = dual_products(m, unit, x, weights)
        return [tree(m, row, unit.tree_stages, f"tree_{p}") for p, row in enumerate(_rows(unit, products))]
    x = [registered(m, value, f"x_{s}") for s, value in enumerate(x)]
    if packing and packing.is_shared:
        return shared_sums(m, unit, x, weights)
    if not unit.is_unrolled:
        weights = [registered(m, weight, f"weight_{n}") for n, weight in enumerate(weights)]
    if unit.products is Products.COUNT:
        form = CountForm.of(target, unit.summands, clock_hz)
        return _counts(unit, x, weights, Counter(m, target, form, unit.is_unrolled))
    sums = []
    for p, row in enumerate(_rows(unit, weights)):
        own = [x[p]] if unit.lanewise else x
        made = [_term(unit, value, weight) for value, weight in zip(own, row, strict=True)]
        if unit.is_shift_add:
            made = [constant_product(value, int(code)) for value, code in zip(own, unit.weights[p], strict=True)]
        terms = [registered(m, made[s], f"product_{p}_{s}") for s in _summands(unit, p)]
        sums.append(tree(m, terms or [Const(0, 1)], unit.tree_stages, f"tree_{p}"))
    return sums


def _summands(unit: MatrixVector, row: int) -> list[int]:
    """The lanes of a PE row that are added up: not those of constants that are 0."""
    return np.flatnonzero(unit.weights[row]).tolist() if unit.is_unrolled else list(range(unit.simd))


def _counts(unit: MatrixVector, x: Sequence[Value], weights: Sequence[Value], counter: Counter) -> list[Value]:
    """Each row's count of bipolar products that are 1."""
    signs = [{code: Pair(value[0], Const(code < 0, 1)) for code in (-1, 1)} for value in x]
    counts = []
    for p, row in enumerate(_rows(unit, weights)):
        lanes = [p] if unit.lanewise else list(range(len(x)))
        if unit.is_unrolled:
            pairs = [signs[lanes[s]][int(unit.weights[p, s])] for s in _summands(unit, p)]
        else:
            pairs = [_pair(unit, x[lane], weight) for lane, weight in zip(lanes, row, strict=True)]
        counts.append(counter.counted(pairs, count_stages(unit.summands), f"count_{p}"))
    return counts


def _rows(unit: MatrixVector, lanes: Sequence[Value]) -> list[Sequence[Value]]:
    return [lanes[p * unit.simd : (p + 1) * unit.simd] for p in range(unit.pe)]


def _term(unit: MatrixVector, x: Value, weight: Value) -> Value:
    is_ternary = unit.weight_code is WeightCode.TERNARY
    match unit.products:
        case Products.MULTIPLY:
            return lut_product(x, weight) if unit.multiplier is Multiplier.LUT else x * weight
        case Products.COUNT:
            raise AssertionError("pairs are counted")
        case Products.SIGN:
            return _signed(x, weight, is_ternary)
        case Products.SHIFT:
            return _shifted(unit, x, weight)
        case Products.SELECT:
            return Mux(x[0], weight, 0)


def _pair(unit: MatrixVector, x: Value, weight: Value) -> Pair:
    """Two bits that differ where bipolar input and weight agree; a ternary weight has its sign above its mask."""
    if unit.weight_code is WeightCode.TERNARY:
        return Pair((x[0] ^ weight[1]) & weight[0])
    return Pair(x[0], weight[0])


def _signed(x: Value, weight: Value, is_ternary: bool) -> Value:
    """x, its inverse, or 0."""
    wide = Cat(x, x[-1] if x.shape().signed else Const(0))
    is_negative = weight[1] if is_ternary else weight[0]
    inverted = wide ^ is_negative.replicate(len(wide))
    return (inverted & weight[0].replicate(len(wide)) if is_ternary else inverted).as_signed()


def _shifted(unit: MatrixVector, x: Value, weight: Value) -> Value:
    """x times a power of two, inverted if the sign above the exponent says so; 0 for an exponent of 0."""
    most = unit.largest_weight.bit_length()
    exponent, is_negative = weight[:-1], weight[-1]
    bits = len(x) + most
    placed: Value = Const(0, signed(bits))
    for number in range(1, most + 1):
        wide = Cat(Const(0, number - 1), x, (x[-1] if x.shape().signed else Const(0, 1)).replicate(bits - len(x)))
        placed = Mux(exponent == number, wide[:bits].as_signed(), placed)
    return (placed ^ is_negative.replicate(bits))[:bits].as_signed()


def constant_product(x: Value, weight: int) -> Value:
    """x * weight as a sum of shifted x, one for each signed digit of the weight that is not 0."""
    total: Value = Const(0, 1)
    for place, digit in enumerate(signed_digits(weight)):
        if digit:
            total = total + (x << place) if digit > 0 else total - (x << place)
    return total


def signed_digits(number: int) -> list[int]:
    """Digits -1, 0 and 1 from the lowest on, of two neighbours one being 0 (the canonical form, Reitwiesner 1960)."""
    digits = []
    while number:
        digit = 2 - number % 4 if number % 2 else 0
        digits.append(digit)
        number = (number - digit) // 2
    return digits


def lut_product(x: Value, weight: Value) -> Value:
    """x * weight as a sum of partial products, which synthesis keeps out of the multiplier blocks."""
    partial = [Mux(weight[n], x, 0) << n for n in range(len(weight))]
    total = sum(partial[1:-1], partial[0]) - partial[-1] if len(weight) > 1 else -partial[0]
    bits = len(x) + len(weight)
    return total[:bits].as_signed() if len(total) > bits else total
