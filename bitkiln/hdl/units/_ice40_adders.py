"""Adders in the cells of iCE40, each a SB_LUT4 with a carry: counts of seven in ten cells, XORs included, and sums.

Logic synthesis takes more: it shares no LUT between the parity and the carry of three, and gives the register of a
sum's highest bit a cell of its own.
"""

from __future__ import annotations

from collections.abc import Sequence

from amaranth.hdl import Cat, Const, Instance, Module, Signal, Value

from ._carry_chain import Pair

_PARITY_4, _PARITY_3, _CARRY_OF_PAIR = 0x6996, 0x9696, 0x2772
_MAJORITY_4, _MAJORITY_3 = 0x8EE8, 0xE8E8  # of I0, I1 and the XOR of I2 and I3
_PASS, _SUM = 0xFF00, 0xC33C


def count_of_three(m: Module, pairs: Sequence[Pair]) -> Value:
    """How many of three pairs differ, in three cells."""
    bits = [(pair.a, pair.b) for pair in pairs]
    parity = _lut(m, _PARITY_4, (*bits[0], *bits[1]))
    total = _lut(m, _PARITY_3, (parity, *bits[2]))
    return Cat(total, _lut(m, _CARRY_OF_PAIR, (parity, total, *bits[0])))


def count_of_seven(m: Module, threes: Sequence[Value], last: Pair) -> Value:
    """The sum of two counts of three, and 1 if the pair differs, in four cells."""
    (low, high), (other_low, other_high) = threes
    lowest = (low, other_low, last.a, last.b)
    following = (high, other_high, _lut(m, _MAJORITY_4, lowest))
    return Cat(_lut(m, _PARITY_4, lowest), _lut(m, _PARITY_3, following), _lut(m, _MAJORITY_3, following))


def summed(m: Module, a: Value, b: Value, carry: Value) -> Value:
    """a + b + carry in a chain: a cell for each bit of the sum, and one for a carry that is not 0."""
    bits: list[Value] = []
    zero = Const(0, 1)
    for n in range(max(len(a), len(b))):
        pair = (a[n] if n < len(a) else zero, b[n] if n < len(b) else zero)
        bits.append(_lut(m, _SUM, (zero, *pair, carry)))
        following = Signal()
        ports = (("i", "I0", pair[0]), ("i", "I1", pair[1]), ("i", "CI", carry), ("o", "CO", following))
        m.submodules += Instance("SB_CARRY", *ports)
        carry = following
    return Cat(*bits, _lut(m, _PASS, (zero, zero, zero, carry)))


def _lut(m: Module, table: int, inputs: Sequence[Value]) -> Signal:
    """An SB_LUT4."""
    output = Signal()
    padded = [*inputs, *[Const(0, 1)] * (4 - len(inputs))]
    ports = [("i", f"I{n}", value) for n, value in enumerate(padded)]
    m.submodules += Instance("SB_LUT4", ("p", "LUT_INIT", Const(table, 16)), *ports, ("o", "O", output))
    return output
