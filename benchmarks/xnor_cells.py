"""Logic cells of a binary multiply-accumulate: XNOR with a weight from memory and the count of the ones, routed.

    python benchmarks/xnor_cells.py [--constant] [--fast] [inputs ...]

Builds the counting tree of the matrix-vector unit between shift registers, and those registers alone; the difference
over the number of inputs is printed, with the clock that nextpnr reports. iCE40 HX8K and ECP5-25F (speed grade 6). With
--constant the weights are random constants.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
from pathlib import Path
from typing import Any

from amaranth.back import rtlil
from amaranth.hdl import Const, Elaboratable, Module, Signal

from bitkiln.hdl.toolchain import NEXTPNR_ECP5, NEXTPNR_ICE40, YOSYS, Tool
from bitkiln.hdl.units._count import CountForm, counted
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


class Shell(Elaboratable):
    """Inputs and weights come bit by bit into registers; the count, or the last bits alone, goes out."""

    def __init__(self, inputs: int, has_count: bool, target: Target, is_constant: bool, form: CountForm) -> None:
        self.inputs, self.has_count, self.target = inputs, has_count, target
        self.is_constant, self.form = is_constant, form
        self.x, self.w = Signal(), Signal()
        self.count = Signal(inputs.bit_length())

    def elaborate(self, platform: Any) -> Module:
        m, rng = Module(), random.Random(0)
        x, w = Signal(self.inputs, reset_less=True), Signal(self.inputs, reset_less=True)
        m.d.sync += x.eq(x << 1 | self.x)
        if not self.is_constant:
            m.d.sync += w.eq(w << 1 | self.w)
        if self.has_count:
            weights = [Const(rng.getrandbits(1), 1) if self.is_constant else bit for bit in w]
            m.d.comb += self.count.eq(
                counted(
                    m,
                    list(zip(x, weights, strict=True)),
                    self.target,
                    "count",
                    form=self.form,
                    is_constant=self.is_constant,
                )
            )
        else:
            m.d.comb += self.count.eq(x[-1] ^ w[-1])
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
    parser.add_argument("--fast", action="store_true", help="for a short clock, with more cells")
    options = parser.parse_args()
    form = CountForm.FAST if options.fast else CountForm.COMPACT
    print(f"{'device':12} {'inputs':>6} {'cells':>6} {'a product':>9} {'stages':>6} {'MHz':>6}")
    for inputs in options.inputs:
        for family, target in TARGETS.items():
            used, _, clock = cells(Shell(inputs, True, target, options.constant, form), family)
            alone, _, _ = cells(Shell(inputs, False, target, options.constant, form), family)
            each = (used - alone) / inputs
            stages = count_stages(inputs)
            print(f"{family:12} {inputs:6} {used - alone:6} {each:9.2f} {stages:6} {clock:6.0f}", flush=True)


if __name__ == "__main__":
    main()
