"""Products that share a multiplier block: those of one input, or two of separate operands in an SB_MAC16.

Digits and carries (see `Packing`) are summed apart and joined once a row, not once a product.
"""

from __future__ import annotations

from collections.abc import Sequence

from amaranth.hdl import Cat, ClockSignal, Const, Instance, Module, Mux, Signal, Value

from bitkiln.ir.units import MatrixVector, Packing

from ._parts import packed, registered, tree

HALF_BITS = 8


def shared_sums(m: Module, unit: MatrixVector, x: Sequence[Value], weights: Sequence[Value]) -> list[Value]:
    """Return each row's sum of products; `x` is registered, `weights` are a cycle earlier and not."""
    assert unit.packing
    step, sums = unit.packing.products, []
    for first in range(0, unit.pe, step):
        rows = range(first, min(first + step, unit.pe))
        columns = [[weights[p * unit.simd + s] for p in rows] for s in range(unit.simd)]
        taken = [
            taken_apart(m, unit.packing, value, column, f"block_{first}_{s}")
            for s, (value, column) in enumerate(zip(x, columns, strict=True))
        ]
        digits, carries = (
            [
                tree(m, terms, unit.tree_stages, f"{name}_{first}_{i}")
                for i, terms in enumerate(zip(*found, strict=True))
            ]
            for name, found in zip(("digits", "carries"), zip(*taken, strict=True), strict=True)
        )
        sums += [
            registered(m, row, f"row_{first}_{i}") for i, row in enumerate(joined_rows(unit.packing, digits, carries))
        ]
    return sums


def taken_apart(
    m: Module, packing: Packing, x: Value, weights: Sequence[Value], name: str
) -> tuple[list[Value], list[Value]]:
    """Return the digits of x * weights, and the carries of all but the last, two cycles later, or three with overlaps.

    `x` is registered, `weights` are a cycle earlier and not.
    """
    distance, overlap = packing.distance, packing.overlap
    total = sum((weight << (i * distance) for i, weight in enumerate(weights[1:], 1)), weights[0])
    product = registered(m, registered(m, total, f"{name}_operand") * x, f"{name}_product")
    top = (len(weights) - 1) * distance
    digits: list[Value] = [product[low : low + distance] for low in range(0, top, distance)]
    digits.append(product[top:].as_signed())
    if not overlap or len(weights) == 1:
        carries: list[Value] = [digit[-1:].as_signed() for digit in digits[:-1]]
        return (digits if not overlap else [registered(m, digit, f"{name}_digit") for digit in digits]), carries
    carries = []
    for i, weight in enumerate(weights[1:], 1):
        low = registered(m, packed([weight], overlap), f"{name}_low_{i}")
        expected = registered(m, low_product(low, x, overlap), f"{name}_expected_{i}")
        carry = (digits[i][:overlap] - expected)[:overlap].as_signed()
        carries.append(registered(m, carry, f"{name}_carry_{i}"))
    return [registered(m, digit, f"{name}_digit_{i}") for i, digit in enumerate(digits)], carries


def joined_rows(packing: Packing, digits: Sequence[Value], carries: Sequence[Value]) -> list[Value]:
    """Return digit + carry out * 2 ** distance - carry in of each product."""
    rows = list(digits)
    for i, carry in enumerate(carries):
        rows[i] = rows[i] + (carry << packing.distance)
        rows[i + 1] = rows[i + 1] - carry
    return rows


def low_product(a: Value, b: Value, bits: int) -> Value:
    """The lowest `bits` of a * b, which synthesis keeps out of the multiplier blocks."""
    wide = Cat(b, (b[-1] if b.shape().signed else Const(0, 1)).replicate(max(0, bits - len(b))))[:bits]
    total: Value = Const(0, bits)
    for n, bit in enumerate(a[:bits]):
        total = (total + Mux(bit, wide << n, 0))[:bits]
    return total


def dual_products(m: Module, unit: MatrixVector, x: Sequence[Value], weights: Sequence[Value]) -> list[Value]:
    """Return the product of each weight with its column's input, two cycles later, two in an SB_MAC16.

    Neither `x` nor `weights` are registered: the block has registers before and behind the multiplier.
    """
    products: list[Value] = []
    for first in range(0, len(weights), 2):
        pair = range(first, min(first + 2, len(weights)))
        a = packed([weights[n] for n in pair], HALF_BITS)
        b = packed([x[n if unit.lanewise else n % unit.simd] for n in pair], HALF_BITS)
        o = Signal(2 * 2 * HALF_BITS, name=f"dual_{first}")
        m.submodules[f"dual_{first}"] = _mac16(a, b, o, unit.input_signed)
        products += [o[: 2 * HALF_BITS].as_signed(), o[2 * HALF_BITS :].as_signed()][: len(pair)]
    return products


def _mac16(a: Value, b: Value, o: Signal, is_b_signed: bool) -> Instance:
    """o = {a[15:8] * b[15:8], a[7:0] * b[7:0]} two cycles later; a is signed."""
    width = 2 * HALF_BITS
    halves = ("IRST", "ORST", "OLOAD", "ADDSUB", "OHOLD")
    idle = [f"{name}{half}" for name in halves for half in ("TOP", "BOT")]
    idle += ["AHOLD", "BHOLD", "CHOLD", "DHOLD", "CI", "ACCUMCI", "SIGNEXTIN"]
    parameters = {
        "NEG_TRIGGER": 0,
        "A_REG": 1,
        "B_REG": 1,
        "C_REG": 0,
        "D_REG": 0,
        "TOP_8x8_MULT_REG": 1,
        "BOT_8x8_MULT_REG": 1,
        "PIPELINE_16x16_MULT_REG1": 0,
        "PIPELINE_16x16_MULT_REG2": 0,
        "TOPADDSUB_UPPERINPUT": 0,
        "BOTADDSUB_UPPERINPUT": 0,
        "MODE_8x8": 1,
        "A_SIGNED": 1,
        "B_SIGNED": int(is_b_signed),
    }
    fields = {name: Const(value, 1) for name, value in parameters.items()}
    for half in ("TOP", "BOT"):
        fields[f"{half}OUTPUT_SELECT"] = Const(2, 2)  # the product of 8 by 8
        fields |= {f"{half}ADDSUB_LOWERINPUT": Const(0, 2), f"{half}ADDSUB_CARRYSELECT": Const(0, 2)}
    return Instance(
        "SB_MAC16",
        *(("p", name, value) for name, value in fields.items()),
        *(("i", name, Const(0, 1)) for name in idle),
        ("i", "CLK", ClockSignal()),
        ("i", "CE", Const(1, 1)),
        ("i", "A", Cat(a, Const(0, width))[:width]),
        ("i", "B", Cat(b, Const(0, width))[:width]),
        ("i", "C", Const(0, width)),
        ("i", "D", Const(0, width)),
        ("o", "O", o),
    )
