"""Proofs by induction (yosys' SAT solver): small circuits equal their definitions for all inputs, in every cycle."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("amaranth", reason='RTL needs pip install "bitkiln[rtl]"')

from amaranth.back import rtlil
from amaranth.hdl import Cat, Const, Elaboratable, Module, Signal, Value

from bitkiln.hdl.harness import cxxrtl_headers
from bitkiln.hdl.toolchain import YOSYS
from bitkiln.hdl.units._carry_chain import Pair
from bitkiln.hdl.units._count import Counter, CountForm, counted
from bitkiln.hdl.units._packing import joined_rows, low_product, taken_apart
from bitkiln.hdl.units._parts import delayed, lanes, registered, rescaled
from bitkiln.hdl.units._products import lut_product
from bitkiln.hdl.units._target import Target
from bitkiln.ir import ToolError
from bitkiln.ir.units import Packing, Rescale, count_stages

PROOF = (
    "read_verilog -icells +/lattice/common_sim.vh +/lattice/ccu2c_sim.vh; read_verilog -icells ice40.v; "
    "read_rtlil top.il; "
    "hierarchy -top top; proc -norom; flatten; opt_clean; "
    "sat -verify -tempinduct -prove bad 0 -set-init-zero -seq 1 top"
)

ICE40_CELLS = ("SB_LUT4", "SB_CARRY")

Circuit = Callable[[Module, Signal], tuple[Value, Value]]
"""Adds two circuits of an input that should be equal."""


class Comparison(Elaboratable):
    """`bad` while they differ."""

    def __init__(self, bits: int, circuit: Circuit) -> None:
        self.x, self.bad, self.circuit = Signal(bits, name="x"), Signal(name="bad"), circuit

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        found, expected = self.circuit(m, self.x)
        m.d.comb += self.bad.eq(found != expected)
        return m


def ice40_cells() -> str:
    """yosys' own models of the LUT and the carry; to read those of all cells takes a minute."""
    models = (cxxrtl_headers().parents[3] / "ice40" / "cells_sim.v").read_text()
    models = re.sub(r"`ICE40_DEFAULT_ASSIGNMENT_\d", "", models)
    found = (re.search(rf"^module {name} .*?^endmodule", models, re.MULTILINE | re.DOTALL) for name in ICE40_CELLS)
    return "\n".join(re.sub(r"`ifdef.*?`endif", "", cell[0], flags=re.DOTALL) for cell in found if cell)


def prove(bits: int, circuit: Circuit, folder: Path) -> None:
    """Raise ToolError `tool-failed` if the circuits can differ."""
    top = Comparison(bits, circuit)
    (folder / "top.il").write_text(rtlil.convert(top, name="top", ports=[top.x, top.bad], emit_src=False))
    (folder / "ice40.v").write_text(ice40_cells())
    YOSYS.run(("-q", "-p", PROOF), folder)


def table(m: Module, x: Signal, values: list[int], bits: int, delay: int) -> Value:
    """values[x], `delay` cycles later."""
    result = Signal(bits)
    with m.Switch(x):
        for number, value in enumerate(values):
            with m.Case(number):
                m.d.comb += result.eq(value)
    return delayed(m, result, delay, "expected")


@pytest.mark.slow
@pytest.mark.tools("yosys")
@pytest.mark.parametrize("target", Target)
@pytest.mark.parametrize("bits", [1, 2, 3, 4, 8, 15])
def test_count(bits: int, target: Target, tmp_path: Path) -> None:
    """In the cells of ECP5 as yosys models them, and as it is simulated."""

    def circuit(m: Module, x: Signal) -> tuple[Value, Value]:
        total = sum((bit for bit in list(x)[1:]), x[0])
        pairs = [Pair(bit) for bit in x]
        return counted(m, pairs, target, "count"), delayed(m, total, count_stages(bits), "expected")

    prove(bits, circuit, tmp_path)


@pytest.mark.slow
@pytest.mark.tools("yosys")
@pytest.mark.parametrize("form", CountForm)
@pytest.mark.parametrize("target", Target)
def test_count_of_what_differs(target: Target, form: CountForm, tmp_path: Path) -> None:
    def circuit(m: Module, x: Signal) -> tuple[Value, Value]:
        pairs = [Pair(a, b) for a, b in zip(x[:7], x[7:], strict=True)]
        total = sum((pair.differs for pair in pairs[1:]), pairs[0].differs)
        return counted(m, pairs, target, "count", form=form), delayed(m, total, count_stages(7), "expected")

    prove(14, circuit, tmp_path)


@pytest.mark.slow
@pytest.mark.tools("yosys")
@pytest.mark.parametrize("target", Target)
def test_counts_of_constants(target: Target, tmp_path: Path) -> None:
    """Rows of ternary weights, some of which are the same in parts; they share an input of 15 bits."""
    rows = (*[[1, -1, -1, 1, 1, 1, -1, 1] * 2] * 2, [-1, -1, -1, 1, 1, 1, -1, 1] * 2, [0, 0, 1] * 5, [0, -1] + 13 * [0])

    def circuit(m: Module, x: Signal) -> tuple[Value, Value]:
        counter = Counter(m, target, is_constant=True)
        signs = [{code: Pair(bit, Const(code < 0, 1)) for code in (-1, 1)} for bit in x]
        used = [[sign[code] for sign, code in zip(signs, row, strict=False) if code] for row in rows]
        found = [counter.counted(pairs, count_stages(15), f"row_{n}") for n, pairs in enumerate(used)]
        totals = [sum((pair.differs for pair in pairs[1:]), pairs[0].differs) for pairs in used]
        # Registers are 0 at the beginning, so that only what has been shifted in counts.
        is_in = delayed(m, Const(1), count_stages(15), "is_in").replicate(4 * len(rows))
        wanted = [delayed(m, total, count_stages(15), f"wanted_{n}") for n, total in enumerate(totals)]
        return Cat(*(_four(count) for count in found)) & is_in, Cat(*(_four(total) for total in wanted)) & is_in

    prove(15, circuit, tmp_path)


def _four(count: Value) -> Value:
    return Cat(count, Const(0, 4))[:4]


@pytest.mark.slow
@pytest.mark.tools("yosys")
@pytest.mark.parametrize(
    "how", [Rescale(5, True, -16, 11, 3), Rescale(4, False, 0, 15, 5, 7), Rescale(8, True, -99, 99, -1)]
)
def test_requantise(how: Rescale, tmp_path: Path) -> None:
    """All 256 codes, against a table that NumPy made."""
    codes = np.arange(256)
    codes = np.where(codes >= 128, codes - 256, codes) * how.multiplier + how.half
    expected = np.clip(np.floor_divide(codes, 1 << how.shift) if how.shift > 0 else codes * 2, how.lo, how.hi)

    def circuit(m: Module, x: Signal) -> tuple[Value, Value]:
        found = rescaled(m, x.as_signed(), how, "x")
        # Registers are 0 at the beginning, so that only what has been shifted in counts.
        is_in = delayed(m, Const(1), Rescale.LATENCY, "is_in")
        wanted = table(m, x, [int(code) & 255 for code in expected], 8, Rescale.LATENCY).as_signed()
        return found & is_in.replicate(8).as_signed(), wanted & is_in.replicate(8).as_signed()

    prove(8, circuit, tmp_path)


@pytest.mark.slow
@pytest.mark.tools("yosys")
def test_product_of_partial_products(tmp_path: Path) -> None:
    def circuit(m: Module, x: Signal) -> tuple[Value, Value]:
        a, b = x[:5].as_signed(), x[5:].as_signed()
        return lut_product(a, b), a * b

    prove(9, circuit, tmp_path)


@pytest.mark.slow
@pytest.mark.tools("yosys")
@pytest.mark.parametrize(
    ("packing", "weight_bits", "input_bits"),
    [
        (Packing(2, 10, 0), 4, 5),
        (Packing(2, 5, 4), 4, 5),
        (Packing(2, 3, 3), 2, 4),
        (Packing(3, 4, 2), 3, 3),
        (Packing(4, 3, 2), 2, 3),
    ],
)
@pytest.mark.parametrize("is_signed", [False, True])
def test_packed_products(packing: Packing, weight_bits: int, input_bits: int, is_signed: bool, tmp_path: Path) -> None:
    """Digits and carries of a block of 18 bits by 18 give each product, whatever the codes are."""

    def circuit(m: Module, x: Signal) -> tuple[Value, Value]:
        value = x[:input_bits].as_signed() if is_signed else x[:input_bits]
        weights = [code.as_signed() for code in lanes(x[input_bits:], weight_bits, False)]
        digits, carries = taken_apart(m, packing, registered(m, value, "x"), weights, "block")
        found = joined_rows(packing, digits, carries)
        delay = 2 + (packing.overlap > 0)
        expected = [delayed(m, weight * value, delay, f"expected_{n}") for n, weight in enumerate(weights)]
        bits = weight_bits + input_bits
        is_in = delayed(m, Const(1), delay, "is_in").replicate(bits * len(weights))
        return Cat(*(row[:bits] for row in found)) & is_in, Cat(*(row[:bits] for row in expected)) & is_in

    prove(input_bits + packing.products * weight_bits, circuit, tmp_path)


@pytest.mark.slow
@pytest.mark.tools("yosys")
@pytest.mark.parametrize("bits", [3, 6])
def test_lowest_bits_of_a_product(bits: int, tmp_path: Path) -> None:
    def circuit(m: Module, x: Signal) -> tuple[Value, Value]:
        a, b = x[:bits], x[bits:].as_signed()
        return low_product(a, b, bits), (a * b)[:bits]

    prove(bits + 4, circuit, tmp_path)


@pytest.mark.slow
@pytest.mark.tools("yosys")
def test_what_is_wrong_is_not_proved(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match="Called with -verify and proof did fail!"):
        prove(4, lambda m, x: (x, x & 7), tmp_path)
