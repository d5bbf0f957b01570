"""One sum of SIMD products a row, registered after the products and after each level of the tree."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from amaranth.hdl import Cat, Const, Module, Mux, Value, signed

from bitkiln.ir.units import MatrixVector, Multiplier, Products, WeightCode, count_stages

from ._parts import registered


def summed_products(m: Module, unit: MatrixVector, x: list[Value], weights: list[Value]) -> list[Value]:
    """Return each row's sum of terms (see `Accumulation`) 1 + `unit.tree_stages` cycles later."""
    sums = []
    for p in range(unit.pe):
        row = weights[p * unit.simd : (p + 1) * unit.simd]
        terms = [_term(unit, value, weight) for value, weight in zip(x, row, strict=True)]
        if unit.products is Products.COUNT:
            sums.append(counted(m, terms, count_stages(unit.simd), f"count_{p}"))
        else:
            sums.append(_tree(m, terms, unit.tree_stages, p))
    return sums


def _term(unit: MatrixVector, x: Value, weight: Value) -> Value:
    is_ternary = unit.weight_code is WeightCode.TERNARY
    match unit.products:
        case Products.MULTIPLY:
            return x * weight if unit.multiplier is Multiplier.DSP else lut_product(x, weight)
        case Products.COUNT:
            return _match(x, weight, is_ternary)
        case Products.SIGN:
            return _signed(x, weight, is_ternary)
        case Products.SHIFT:
            return _shifted(unit, x, weight)
        case Products.SELECT:
            return Mux(x[0], weight, 0)


def _match(x: Value, weight: Value, is_ternary: bool) -> Value:
    """1 where a bipolar input and weight agree; a ternary weight has its sign above its mask."""
    return (x[0] ^ weight[1]) & weight[0] if is_ternary else ~(x[0] ^ weight[0])


def _signed(x: Value, weight: Value, is_ternary: bool) -> Value:
    """x, its inverse, or 0."""
    wide = Cat(x, x[-1] if x.shape().signed else Const(0))
    is_negative = weight[1] if is_ternary else ~weight[0]
    inverted = wide ^ is_negative.replicate(len(wide))
    return (inverted & weight[0].replicate(len(wide)) if is_ternary else inverted).as_signed()


def _shifted(unit: MatrixVector, x: Value, weight: Value) -> Value:
    """x times a power of two, inverted if the sign above the exponent says so; 0 for an exponent of 0."""
    most = int(np.abs(unit.weights).max()).bit_length()
    exponent, is_negative = weight[:-1], weight[-1]
    bits = len(x) + most
    placed: Value = Const(0, signed(bits))
    for number in range(1, most + 1):
        wide = Cat(Const(0, number - 1), x, (x[-1] if x.shape().signed else Const(0, 1)).replicate(bits - len(x)))
        placed = Mux(exponent == number, wide[:bits].as_signed(), placed)
    return (placed ^ is_negative.replicate(bits))[:bits].as_signed()


def _tree(m: Module, terms: Sequence[Value], stages: int, p: int) -> Value:
    terms = [registered(m, term, f"product_{p}_{s}") for s, term in enumerate(terms)]
    for level in range(stages):
        pairs = [terms[n : n + 2] for n in range(0, len(terms), 2)]
        terms = [registered(m, sum(pair[1:], pair[0]), f"tree_{p}_{level}_{n}") for n, pair in enumerate(pairs)]
    return terms[0]


def counted(m: Module, bits: Sequence[Value], stages: int, name: str) -> Value:
    """Return how many of `bits` are 1, `stages` cycles later, at least `count_stages(len(bits))`.

    Up to three bits are one number. Above that two halves are added with the bit in the middle as the carry, so that
    a sum of 2**k - 1 bits has no more than k bits.
    """
    if len(bits) <= 3:
        value: Value = registered(m, sum(bits[1:], bits[0])[: len(bits).bit_length()], f"{name}_{stages}")
        for stage in range(stages - 1):
            value = registered(m, value, f"{name}_{stage}")
        return value
    half = len(bits) // 2
    low = counted(m, bits[:half], stages - 1, f"{name}l")
    high = counted(m, bits[half : 2 * half], stages - 1, f"{name}h")
    if len(bits) % 2 == 0:
        return registered(m, (low + high)[: len(bits).bit_length()], f"{name}_{stages}")
    carry = counted(m, bits[-1:], stages - 1, f"{name}c")
    total = Cat(Const(1, 1), low) + Cat(carry, high)
    return registered(m, total[1 : 1 + len(bits).bit_length()], f"{name}_{stages}")


def lut_product(x: Value, weight: Value) -> Value:
    """x * weight as a sum of partial products, which synthesis keeps out of the multiplier blocks."""
    partial = [Mux(weight[n], x, 0) << n for n in range(len(weight))]
    total = sum(partial[1:-1], partial[0]) - partial[-1] if len(weight) > 1 else -partial[0]
    bits = len(x) + len(weight)
    return total[:bits].as_signed() if len(total) > bits else total
