"""What products and what follows them take: the circuits that several units share."""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

from bitkiln.boards import Family
from bitkiln.ir.units import (
    Accumulation,
    MatrixVector,
    Multiplier,
    Packing,
    Products,
    Rescale,
    Thresholds,
    WeightCode,
    parity_of,
)

from .bill import Bill, Part

_LEAST_PRODUCT_BITS = {Family.ICE40: 11, Family.ECP5: 0}
_MOST_FACTOR_BITS = {Family.ICE40: 16, Family.ECP5: 18}

Planes = NDArray[np.bool_]


def dsp_blocks(bill: Bill, a_bits: int, b_bits: int) -> int:
    """Multiplier blocks that synthesis takes for a product of two variables, 0 if it makes it of LUTs.

    Gowin's are counted as those of 9 by 9 bits, of which larger ones take two (or eight, of 36 by 36).
    """
    family = bill.family
    if not bill.board.resources.dsp:
        return 0
    if family is Family.GOWIN:
        return _gowin_blocks(max(a_bits, b_bits), min(a_bits, b_bits))
    if min(a_bits, b_bits) < 2 or a_bits + b_bits < _LEAST_PRODUCT_BITS[family]:
        return 0
    most = _MOST_FACTOR_BITS[family]
    return -(-a_bits // most) * -(-b_bits // most)


def _gowin_blocks(wide: int, narrow: int) -> int:
    if narrow < 4:
        return 0
    if narrow >= 22:
        return 8 * -(-wide // 36) * -(-narrow // 36)
    if wide <= 9:
        return 1
    return 2 * max(1, (wide + 14) // 18)  # a rest of less than 4 bits is made of LUTs


def constant_product(bill: Bill, bits: int, factor: int, copies: int = 1) -> None:
    """A product with a constant: a shift for a power of two, else a block or additions."""
    size = abs(factor)
    if size & (size - 1) == 0:
        return
    blocks = dsp_blocks(bill, bits, size.bit_length())
    bill.dsp += copies * blocks
    if not blocks:
        bill.add(Part.CONSTANT_ADDER, copies * (signed_digits(size) - 1) * (bits + size.bit_length()))


def signed_digits(value: int) -> int:
    """The least number of powers of two whose sum or difference is `value`."""
    return bin(value ^ (3 * value)).count("1")


def row_fields(unit: MatrixVector, sums: Accumulation) -> list[tuple[int, NDArray[np.int64]]]:
    """Bits and values, one a row, of the constants that a row needs at its end; the accumulator's start comes first."""
    fields = [(sums.bits, sums.start)]
    if unit.thresholds is None and has_own_parities(unit, sums):
        fields.append((1, sums.parity))
    choice = ending_choices(unit.thresholds) if unit.thresholds else _numbers(unit.shift)
    bits = int(max(choice, default=0)).bit_length()
    if bits:
        fields.append((bits, np.array(choice)))
    return fields + [(sums.bits, column) for column in sums.rest.T]


def has_own_parities(unit: MatrixVector, sums: Accumulation) -> bool:
    """Whether the lowest bit of a sum of signs is one of the constants of a row, not the same in all."""
    return sums.scale == 2 and (unit.renewable or parity_of(sums) is None)


def ending_choices(thresholds: Thresholds) -> list[int]:
    """The number of each row's base and step among the distinct ones."""
    return _numbers(tuple(zip(thresholds.base, thresholds.step, strict=True)))


def _numbers(values: tuple[object, ...]) -> list[int]:
    distinct = sorted(set(values))  # type: ignore[type-var]  # numbers or pairs of numbers, all alike
    return [distinct.index(value) for value in values]


def varying_bits(fields: list[tuple[int, NDArray[np.int64]]], pe: int, is_padded: bool = False) -> int:
    """Bits of a memory's word for `pe` rows that are not the same in every word: only those are kept.

    A memory that `is_padded` has words of 0 as well.
    """
    count = 0
    for bits, values in fields:
        planes: Planes = ((values[:, None] >> np.arange(bits)) & 1).astype(bool).reshape(-1, pe * bits)
        count += int((planes.any(0) & ~(planes.all(0) & (not is_padded))).sum())
    return count


def product_terms(bill: Bill, unit: MatrixVector, is_constant: bool) -> None:
    """The products of a step and their registers."""
    count, bits = unit.pe * unit.simd, unit.input_bits
    product = bits + unit.weight_bits
    match unit.products:
        case Products.MULTIPLY if is_constant:
            _constant_terms(bill, unit)
        case Products.MULTIPLY if unit.packing and bill.board.resources.dsp:
            _packed_terms(bill, unit, unit.packing)
        case Products.MULTIPLY:
            blocks = dsp_blocks(bill, bits, unit.weight_bits) if unit.multiplier is Multiplier.DSP else 0
            bill.dsp += count * blocks
            if blocks:
                bill.add(Part.PRODUCT_REGISTER, count * product)
            else:
                lut_products(bill, bits, unit.weight_bits, count)
            if unit.weight_code is WeightCode.CODEBOOK:
                bill.add(Part.GATE, count * unit.weight_bits * max(1, len(unit.codebook) // 16))
        case Products.COUNT:
            bill.add(Part.XNOR, 0 if is_constant else count)
        case Products.SIGN:
            bill.add(Part.WIRE_REGISTER if is_constant else Part.LOGIC_REGISTER, count * (bits + 1))
        case Products.SHIFT:
            most = unit.largest_weight.bit_length()
            bill.add(Part.SHIFTER, 0 if is_constant else count * (bits + most) * max(1, most - 1))
            bill.add(Part.WIRE_REGISTER if is_constant else Part.LOGIC_REGISTER, count * (bits + most))
        case Products.SELECT:
            bill.add(Part.WIRE_REGISTER if is_constant else Part.LOGIC_REGISTER, count * unit.weight_bits)


def _packed_terms(bill: Bill, unit: MatrixVector, packing: Packing) -> None:
    """Blocks of several products; where they share an input, operands are summed, carries found and rows joined."""
    bill.dsp += unit.dsp_blocks
    product = unit.input_bits + unit.weight_bits
    bill.add(Part.PRODUCT_REGISTER, unit.multipliers * product)
    if not packing.is_shared:
        return
    joints, overlap = unit.multipliers - unit.dsp_blocks, packing.overlap
    bill.adders(joints, unit.weight_bits)
    bill.adders(joints, overlap)
    bill.add(Part.PARTIAL, joints * overlap * (overlap + 1) // 2)
    bill.add(Part.WIRE_REGISTER, unit.multipliers * (packing.distance + overlap) if overlap else 0)
    bill.adders(2 * unit.pe, product + unit.tree_stages)


def lut_products(bill: Bill, a_bits: int, b_bits: int, count: int) -> None:
    """Products of LUTs, each with the register behind it."""
    bill.add(Part.PARTIAL, count * a_bits * b_bits)
    bill.add(Part.PRODUCT_REGISTER, count * (a_bits + b_bits))
    bill.multiplied = max(bill.multiplied, a_bits + b_bits)


def _constant_terms(bill: Bill, unit: MatrixVector) -> None:
    product = unit.input_bits + unit.weight_bits
    of_columns = (np.unique(column).tolist() for column in unit.weights.T)  # equal products are made once
    for weight in itertools.chain.from_iterable(of_columns):
        if not weight:
            continue
        if unit.multiplier is Multiplier.DSP:
            constant_product(bill, unit.input_bits, weight)
        else:
            bill.add(Part.CONSTANT_ADDER, (signed_digits(abs(weight)) - 1) * product)
        bill.add(Part.PRODUCT_REGISTER, product)


def adder_tree(bill: Bill, unit: MatrixVector) -> None:
    """One sum of the products of each row, with a register rank a level."""
    if unit.products is Products.COUNT:
        _count_tree(bill, unit.summands, unit.pe)
        return
    bits, terms = _term_bits(unit), unit.summands
    for _ in range(unit.tree_stages):
        bits += 1
        bill.adders(unit.pe * (terms // 2), bits)
        bill.add(Part.WIRE_REGISTER, unit.pe * (terms % 2) * (bits - 1))
        terms = -(-terms // 2)


def _term_bits(unit: MatrixVector) -> int:
    match unit.products:
        case Products.SIGN:
            return unit.input_bits + 1
        case Products.SHIFT:
            return unit.input_bits + unit.largest_weight.bit_length()
        case Products.SELECT:
            return unit.weight_bits
        case _:
            return unit.input_bits + unit.weight_bits


def _count_tree(bill: Bill, bits: int, copies: int) -> None:
    """Threes to numbers of two bits, and the tree of those."""
    bill.add(Part.FULL_ADDER, copies * (bits // 3))
    terms, width = -(-bits // 3), 2
    while terms > 1:
        bill.adders(copies * (terms // 2), width)
        bill.add(Part.WIRE_REGISTER, copies * (terms % 2) * width)
        terms, width = -(-terms // 2), width + 1


def row_ending(bill: Bill, unit: MatrixVector, sums: Accumulation) -> None:
    """What follows the accumulator of each row."""
    if unit.thresholds:
        comparison(bill, unit.thresholds, sums.bits, unit.pe, unit.bits)
    elif unit.shift:
        distinct = sorted(set(unit.shift))
        total = sums.bits + (sums.scale == 2)
        width = max(total - min(distinct), 1)
        bill.add(Part.WIRE_REGISTER if len(distinct) == 1 else Part.LOGIC_REGISTER, unit.pe * width)
        bill.add(Part.GATE, unit.pe * width * max(0, len(distinct) - 2))
        clamp(bill, width, unit.bits, unit.pe)


def comparison(bill: Bill, thresholds: Thresholds, bits: int, copies: int, output_bits: int) -> None:
    """A code by comparison with `bits` wide distances, in each of `copies` rows or lanes."""
    pairs = len(set(zip(thresholds.base, thresholds.step, strict=True)))
    choice = (pairs - 1).bit_length()
    if thresholds.count > 1:
        bill.comparators(copies * (thresholds.count - 1), bits)
        bill.add(Part.WIRE_REGISTER, copies * (thresholds.count + 2 * choice))
        bill.add(Part.LOGIC_REGISTER, copies * thresholds.count.bit_length())
        bill.add(Part.GATE, copies * max(0, thresholds.count - 2))
    bill.add(Part.GATE, copies * output_bits * pairs)


def clamp(bill: Bill, bits: int, output_bits: int, copies: int) -> None:
    """A value of `bits` limited to `output_bits`; one that cannot be beyond needs nothing but the register."""
    bill.comparators(2 * copies if bits > output_bits else 0, bits)
    bill.add(Part.LOGIC_REGISTER if bits > output_bits else Part.WIRE_REGISTER, copies * output_bits)


def rescale(bill: Bill, how: Rescale, bits: int, copies: int) -> None:
    """The three stages of a requantisation, of values of `bits`."""
    product = bits + how.multiplier.bit_length() - (how.multiplier == 1)
    constant_product(bill, bits, how.multiplier, copies)
    if how.half:
        bill.adders(copies, product)
    else:
        bill.add(Part.WIRE_REGISTER, copies * product)
    width = max(product - how.shift, 1)
    bill.add(Part.WIRE_REGISTER, copies * width)
    clamp(bill, width, how.bits, copies)
