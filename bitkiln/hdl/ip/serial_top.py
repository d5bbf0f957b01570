"""A whole chip for a board without a processor: the accelerator behind the serial link, on four pins."""

from __future__ import annotations

from typing import Any

from amaranth.back import rtlil
from amaranth.hdl import ClockDomain, Elaboratable, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.cdc import FFSynchronizer

from bitkiln.hdl.board_top import HostedAccelerator
from bitkiln.hdl.link import LinkTiming
from bitkiln.hdl.protocol import Identity

TOP = "top"


class SerialAccelerator(Elaboratable):
    """`HostedAccelerator` with the ports `clk`, `rst_n` (a button, active low), `rx` and `tx`."""

    def __init__(self, accelerator: wiring.Component, identity: Identity, bit_cycles: int) -> None:
        self._hosted = HostedAccelerator(accelerator, identity, bit_cycles, LinkTiming.at(identity.clock_hz))
        self.clk = Signal(name="clk")
        self.rst_n = Signal(name="rst_n")
        self.rx = Signal(name="rx")
        self.tx = Signal(name="tx")

    def rtlil(self) -> str:
        """Return the top level as RTLIL; the same design gives the same text."""
        ports = [self.clk, self.rst_n, self.rx, self.tx]
        return str(rtlil.convert(self, name=TOP, ports=ports, emit_src=False))

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        m.domains.sync = domain = ClockDomain("sync")
        domain.clk = self.clk
        pressed = Signal(init=1)
        m.submodules.button = FFSynchronizer(~self.rst_n, pressed, init=1, reset_less=True)
        m.submodules.hosted = self._hosted
        m.d.comb += [domain.rst.eq(pressed), self._hosted.rx.eq(self.rx), self.tx.eq(self._hosted.tx)]
        return m
