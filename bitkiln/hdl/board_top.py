"""The top level for a board: clock and reset from the board, serial port, host link, accelerator."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import ClockDomain, Elaboratable, Module, ResetInserter
from amaranth.lib import io, wiring
from amaranth.lib.wiring import In, Out, connect

from bitkiln.boards import Board, Family
from bitkiln.boards.baud import cycles_per_bit

from .bundle import TOP, Bundle
from .link import Link, LinkTiming
from .pll import PllClock
from .protocol import Identity
from .uart import UartReceiver, UartTransmitter

# nextpnr reads the pins from here, each family in its own language, and but for Gowin the clock's frequency.
CONSTRAINTS = {Family.ICE40: f"{TOP}.pcf", Family.ECP5: f"{TOP}.lpf", Family.GOWIN: f"{TOP}.cst"}


class HostedAccelerator(wiring.Component):
    """An accelerator behind a serial port; `rx` and `tx` are the lines.

    `accelerator` has `i: In(stream.Signature(n))` and `o: Out(stream.Signature(m))`, with the widths of
    `identity`'s streams: it takes `identity.input.beats` beats an image and gives `identity.output.beats`. If the host
    loads its weights it has `load`, too; if it says that it `is_renewable`, its identity can be replaced as well.
    """

    def __init__(self, accelerator: wiring.Component, identity: Identity, bit_cycles: int, timing: LinkTiming) -> None:
        self._accelerator = accelerator
        self._identity = identity
        self._bit_cycles = bit_cycles
        self._timing = timing
        super().__init__({"rx": In(1, init=1), "tx": Out(1, init=1)})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        m.submodules.receiver = receiver = UartReceiver(self._bit_cycles)
        m.submodules.transmitter = transmitter = UartTransmitter(self._bit_cycles)
        is_renewable = bool(getattr(self._accelerator, "is_renewable", False))
        m.submodules.link = link = Link(self._identity, self._timing, is_renewable=is_renewable)
        m.submodules.accelerator = ResetInserter(link.reset)(self._accelerator)
        connect(m, receiver.o, link.rx)
        connect(m, link.tx, transmitter.i)
        connect(m, link.o, self._accelerator.i)
        connect(m, self._accelerator.o, link.i)
        if self._identity.load_bytes:
            connect(m, link.load, self._accelerator.load)
        m.d.comb += [receiver.rx.eq(self.rx), self.tx.eq(transmitter.tx)]
        return m


class BoardTop(Elaboratable):
    """A hosted accelerator on the pins of a board; the platform, or the board's PLL, makes its clock and reset."""

    def __init__(self, hosted: HostedAccelerator, board: Board) -> None:
        self._hosted = hosted
        self._board = board

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        if self._board.pll:
            m.submodules.clock = clock = PllClock(self._board)
            m.domains.sync = sync = ClockDomain("sync")
            m.d.comb += [sync.clk.eq(clock.clk), sync.rst.eq(clock.rst)]
        m.submodules.hosted = self._hosted
        serial = platform.request("uart", self._board.uart, dir="-")
        m.submodules.rx_pin = rx_pin = io.Buffer("i", serial.rx)
        m.submodules.tx_pin = tx_pin = io.Buffer("o", serial.tx)
        m.d.comb += [self._hosted.rx.eq(rx_pin.i), tx_pin.o.eq(self._hosted.tx)]
        return m


def board_bundle(accelerator: wiring.Component, identity: Identity, board: Board) -> Bundle:
    """Return the design as RTLIL, which yosys reads, and the pins and clock as nextpnr's constraints."""
    assert identity.clock_hz == board.clock_hz, "the design runs at the board's clock"
    bit_cycles = cycles_per_bit(board.clock_hz, board.baud)
    hosted = HostedAccelerator(accelerator, identity, bit_cycles, LinkTiming.at(board.clock_hz))
    # Source locations would make the bytes depend on where bitkiln is installed.
    plan = board.platform().prepare(BoardTop(hosted, board), TOP, emit_src=False)
    names = (f"{TOP}.il", CONSTRAINTS[board.family])
    return Bundle.of({name: _as_bytes(plan.files[name]) for name in names})


def _as_bytes(content: str | bytes) -> bytes:
    return content.encode() if isinstance(content, str) else content
