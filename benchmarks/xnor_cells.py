"""Logic cells of a binary multiply-accumulate: XNOR with a weight from memory and the count of the ones, routed.

    python benchmarks/xnor_cells.py [inputs ...]

Builds the counting tree of the matrix-vector unit between shift registers, and those registers alone; the difference
over the number of inputs is printed, with the clock that nextpnr reports. iCE40 HX8K and ECP5-25F (speed grade 6).
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from amaranth.back import rtlil
from amaranth.hdl import Elaboratable, Module, Signal

from bitkiln.hdl.toolchain import NEXTPNR_ECP5, NEXTPNR_ICE40, YOSYS, Tool
from bitkiln.hdl.units._products import counted
from bitkiln.ir.units import count_stages

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

    def __init__(self, inputs: int, has_count: bool) -> None:
        self.inputs, self.has_count = inputs, has_count
        self.x, self.w = Signal(), Signal()
        self.count = Signal(inputs.bit_length())

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        x, w = Signal(self.inputs, reset_less=True), Signal(self.inputs, reset_less=True)
        m.d.sync += [x.eq(x << 1 | self.x), w.eq(w << 1 | self.w)]
        if self.has_count:
            terms = [~(x[n] ^ w[n]) for n in range(self.inputs)]
            m.d.comb += self.count.eq(counted(m, terms, "count"))
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
    """Print a line a device and size."""
    print(f"{'device':12} {'inputs':>6} {'cells':>6} {'a product':>9} {'stages':>6} {'MHz':>6}")
    for inputs in [int(argument) for argument in sys.argv[1:]] or [64, 127, 128]:
        for family in FAMILIES:
            used, _, clock = cells(Shell(inputs, True), family)
            alone, _, _ = cells(Shell(inputs, False), family)
            each = (used - alone) / inputs
            print(
                f"{family:12} {inputs:6} {used - alone:6} {each:9.2f} {count_stages(inputs):6} {clock:6.0f}", flush=True
            )


if __name__ == "__main__":
    main()
