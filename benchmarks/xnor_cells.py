"""Logic cells of a binary multiply-accumulate: XNOR with a weight from memory and the count of the ones, routed.

    python benchmarks/xnor_cells.py [--constant [--rows N] [--zeros FRACTION]] [--fast] [inputs ...]

Builds the counting tree of the matrix-vector unit between shift registers, and those registers alone; the difference
over the number of products is printed, with the clock that nextpnr reports. iCE40 HX8K and ECP5-25F (speed grade 6).
With --constant the weights are random constants, and the XOR of the rows' counts goes out, whose cells count as the
rows' own.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
from dataclasses import dataclass
from functools import cached_property, reduce
from operator import xor
from pathlib import Path
from typing import Any

from amaranth.back import rtlil
from amaranth.hdl import Const, Elaboratable, Module, Signal

from bitkiln.hdl.toolchain import NEXTPNR_ECP5, NEXTPNR_ICE40, YOSYS, Tool
from bitkiln.hdl.units._carry_chain import Pair
from bitkiln.hdl.units._count import Counter, CountForm
from bitkiln.hdl.units._target import Target
from bitkiln.ir.units import count_stages

TARGETS = {"iCE40 HX8K": Target.ICE40, "ECP5-25F": Target.ECP5}
FAMILIES: dict[str, tuple[str, Tool, tuple[str, ...], tuple[str, ...]]] = {
    "iCE40 HX8K": (
        "synth_ice40 -device hx -top top -json top.json",
        NEXTPNR_ICE40,
        ("--hx8k", "--package", "ct256", "--pcf-allow-unconstrained"),
        ("ICESTORM_LC",),
    ),
    "ECP5-25F": (
        "synth_ecp5 -nowidelut -top top -json top.json",
        NEXTPNR_ECP5,
        ("--25k", "--package", "CABGA381", "--speed", "6", "--lpf-allow-unconstrained"),
        ("TRELLIS_COMB",),
    ),
}


@dataclass(frozen=True)
class Layer:
    """Rows of binary weights: one row from memory, or constants of which a fraction is 0 (no product at all)."""

    inputs: int
    rows: int = 1
    is_constant: bool = False
    zeros: float = 0.0

    @cached_property
    def weights(self) -> list[list[int]]:
        """-1, 0 or 1 for each row and input; the same for the same layer."""
        rng = random.Random(0)
        used = [set(rng.sample(range(self.inputs), round(self.inputs * (1 - self.zeros)))) for _ in range(self.rows)]
        return [[rng.choice((-1, 1)) if n in row else 0 for n in range(self.inputs)] for row in used]

    @property
    def products(self) -> int:
        """Those of weights that are not 0."""
        return sum(sum(map(abs, row)) for row in self.weights)

    @property
    def stages(self) -> int:
        """Cycles that a count takes."""
        return count_stages(max(sum(map(abs, row)) for row in self.weights))


class Shell(Elaboratable):
    """Inputs and weights come bit by bit into registers; the rows' counts, or the last bits alone, go out."""

    def __init__(self, layer: Layer, has_count: bool, target: Target, form: CountForm) -> None:
        self.layer, self.has_count, self.target, self.form = layer, has_count, target, form
        self.x, self.w = Signal(), Signal()
        self.count = Signal(layer.inputs.bit_length())

    def elaborate(self, platform: Any) -> Module:
        m, layer = Module(), self.layer
        x, w = Signal(layer.inputs, reset_less=True), Signal(layer.inputs, reset_less=True)
        m.d.sync += x.eq(x << 1 | self.x)
        if not layer.is_constant:
            m.d.sync += w.eq(w << 1 | self.w)
        if not self.has_count:
            m.d.comb += self.count.eq(x[-1] ^ w[-1])
            return m
        counter = Counter(m, self.target, self.form, is_constant=layer.is_constant)
        if layer.is_constant:
            pairs = [{sign: Pair(bit, Const(sign < 0, 1)) for sign in (-1, 1)} for bit in x]
            rows = [[pair[sign] for pair, sign in zip(pairs, row, strict=True) if sign] for row in layer.weights]
        else:
            rows = [[Pair(*bits) for bits in zip(x, w, strict=True)]]
        counts = [counter.counted(row, layer.stages, f"count_{n}") for n, row in enumerate(rows)]
        m.d.comb += self.count.eq(reduce(xor, counts))
        return m


def cells(shell: Shell, family: str) -> tuple[int, int, float]:
    """Logic cells, registers and clock in MHz after place and route."""
    synthesis, router, arguments, names = FAMILIES[family]
    with tempfile.TemporaryDirectory(prefix="xnor-") as temporary:
        folder = Path(temporary)
        text = rtlil.convert(shell, name="top", ports=[shell.x, shell.w, shell.count], emit_src=False)
        (folder / "top.il").write_text(text)
        YOSYS.run(("-q", "-p", f"read_rtlil top.il; {synthesis}"), folder)
        fixed = ("--seed", "1", "--timing-allow-fail", "--freq", "300", "--report", "report.json", "--json", "top.json")
        router.run((*arguments, *fixed), folder)
        report = json.loads((folder / "report.json").read_text())
    used = sum(report["utilization"][name]["used"] for name in names)
    registers = report["utilization"].get("TRELLIS_FF", {"used": 0})["used"]
    return used, registers, min(clock["achieved"] for clock in report["fmax"].values())


def main() -> None:
    """Print a line a device and size."""
    parser = argparse.ArgumentParser(description="Logic cells of a binary multiply-accumulate.")
    parser.add_argument("inputs", nargs="*", type=int, default=[64, 127, 128])
    parser.add_argument("--constant", action="store_true", help="weights are constants")
    parser.add_argument("--rows", type=int, default=1, help="of constant weights, which share the inputs")
    parser.add_argument("--zeros", type=float, default=0.0, help="fraction of the constant weights that are 0")
    parser.add_argument("--fast", action="store_true", help="for a short clock, with more cells")
    options = parser.parse_args()
    form = CountForm.FAST if options.fast else CountForm.COMPACT
    titles = f"{'device':12} {'inputs':>6} {'rows':>4} {'products':>8} {'cells':>6}"
    print(f"{titles} {'a product':>9} {'stages':>6} {'MHz':>6}")
    for inputs in options.inputs:
        layer = Layer(inputs, options.rows, options.constant, options.zeros)
        for family, target in TARGETS.items():
            used, _, clock = cells(Shell(layer, True, target, form), family)
            alone, _, _ = cells(Shell(layer, False, target, form), family)
            each = (used - alone) / layer.products
            sizes = f"{family:12} {inputs:6} {layer.rows:4} {layer.products:8} {used - alone:6}"
            print(f"{sizes} {each:9.2f} {layer.stages:6} {clock:6.0f}", flush=True)


if __name__ == "__main__":
    main()
