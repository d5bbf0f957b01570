"""Bounded proofs (yosys' SAT solver): what is offered at an AXI port stays as it is until it is taken.

The solver chooses every input in every cycle. An induction does not end (a queue has states that cannot be reached, in
which it would lose beats), so all runs of `CYCLES` cycles from the reset are searched.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("amaranth", reason='RTL needs pip install "bitkiln[rtl]"')

from amaranth.back import rtlil
from amaranth.hdl import Cat, Elaboratable, Module, Signal, Value
from amaranth.lib.wiring import connect

from bitkiln.hdl.ip.axi_lite import AxiLiteRegisters
from bitkiln.hdl.ip.framing import InputFraming, OutputFraming
from bitkiln.hdl.protocol import StreamFormat
from bitkiln.hdl.toolchain import YOSYS
from bitkiln.hdl.units import Queue
from bitkiln.ir import ToolError
from bitkiln.ir.units import Beat

pytestmark = [pytest.mark.slow, pytest.mark.tools("yosys")]

CYCLES = 14
PROOF = (
    "read_rtlil top.il; hierarchy -top top; proc -norom; flatten; opt_clean; "
    f"sat -verify -tempinduct-baseonly -maxsteps {CYCLES} -tempinduct -prove bad 0 -set-init-zero -seq 1 top"
)


class Stable(Elaboratable):
    """`bad` if an offer of the component made by `build` changes before it is taken."""

    def __init__(self) -> None:
        self.bad = Signal(name="bad")
        self.inputs: list[Signal] = []

    def given(self, width: int, name: str) -> Signal:
        """An input of the proof."""
        signal = Signal(width, name=name)
        self.inputs.append(signal)
        return signal

    def watch(self, m: Module, valid: Value, ready: Value, payload: Value) -> None:
        was_stalled, before = Signal(), Signal(len(payload))
        m.d.sync += [was_stalled.eq(valid & ~ready), before.eq(payload)]
        with m.If(was_stalled & (~valid | (payload != before))):
            m.d.comb += self.bad.eq(1)


class LiteStable(Stable):
    """The answers of the registers."""

    def __init__(self) -> None:
        super().__init__()
        self.registers = AxiLiteRegisters(bytes(range(8)))
        names = ("awaddr", "awvalid", "wdata", "wstrb", "wvalid", "bready", "araddr", "arvalid", "rready", "images")
        self.ports = {name: self.given(len(getattr(self.registers, name)), name) for name in names}

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        m.submodules.registers = registers = self.registers
        m.d.comb += [getattr(registers, name).eq(signal) for name, signal in self.ports.items()]
        self.watch(m, registers.bvalid, registers.bready, registers.bresp)
        self.watch(m, registers.rvalid, registers.rready, Cat(registers.rdata, registers.rresp))
        return m


class StreamStable(Stable):
    """Packets of any length through framing, queue and framing; with `is_hasty` without the queue.

    With `is_silent` it is also `bad` if a packet's end is ever offered, which it must be.
    """

    def __init__(self, is_hasty: bool = False, is_silent: bool = False) -> None:
        super().__init__()
        self.is_hasty, self.is_silent = is_hasty, is_silent
        self.tdata, self.tvalid = self.given(8, "tdata"), self.given(1, "tvalid")
        self.tlast, self.tready = self.given(1, "tlast"), self.given(1, "tready")

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        image = StreamFormat(Beat(lanes=1, bits=3, signed=False), 3)
        m.submodules.source = source = InputFraming(image)
        m.submodules.sink = sink = OutputFraming(image)
        m.d.comb += [
            source.tdata.eq(self.tdata),
            source.tvalid.eq(self.tvalid),
            source.tlast.eq(self.tlast),
            sink.tready.eq(self.tready),
        ]
        if self.is_hasty:
            connect(m, source.o, sink.i)
        else:
            m.submodules.queue = queue = Queue(3, 2, is_memory=False)
            takes = source.o.valid & queue.room
            m.d.comb += [
                source.o.ready.eq(queue.room),
                queue.issue.eq(takes),
                queue.push.eq(takes),
                queue.payload.eq(source.o.payload),
            ]
            connect(m, queue.o, sink.i)
        self.watch(m, sink.tvalid, sink.tready, Cat(sink.tdata, sink.tlast))
        if self.is_silent:
            with m.If(sink.tvalid & sink.tlast):
                m.d.comb += self.bad.eq(1)
        return m


def prove(top: Stable, folder: Path) -> None:
    ports: Sequence[Signal] = [*top.inputs, top.bad]
    (folder / "top.il").write_text(rtlil.convert(top, name="top", ports=list(ports), emit_src=False))
    YOSYS.run(("-q", "-p", PROOF), folder)


def test_the_answers_of_the_registers_are_stable(tmp_path: Path) -> None:
    prove(LiteStable(), tmp_path)


def test_the_results_are_stable(tmp_path: Path) -> None:
    prove(StreamStable(), tmp_path)


@pytest.mark.parametrize("top", [StreamStable(is_hasty=True), StreamStable(is_silent=True)], ids=["hasty", "silent"])
def test_what_is_wrong_is_found(top: StreamStable, tmp_path: Path) -> None:
    """Without the queue the offer is as stable as the solver's inputs; and the proof above is not about nothing."""
    with pytest.raises(ToolError, match="Called with -verify and proof did fail!"):
        prove(top, tmp_path)
