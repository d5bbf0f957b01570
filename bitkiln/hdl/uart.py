"""A serial port, 8 data bits, no parity, one stop bit, with a stream of bytes on the inside."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.wiring import In, Out

from bitkiln.boards.baud import LEAST_CYCLES_PER_BIT


class UartReceiver(wiring.Component):
    """Turns the line `rx` into bytes.

    A byte without its stop bit is dropped. `o` holds one byte; one that comes while it is held is dropped.
    """

    def __init__(self, cycles_per_bit: int) -> None:
        assert cycles_per_bit >= LEAST_CYCLES_PER_BIT
        self._cycles_per_bit = cycles_per_bit
        super().__init__({"rx": In(1, init=1), "o": Out(stream.Signature(8))})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        line = Signal(init=1)
        before = Signal(init=1)
        m.submodules.synchronizer = FFSynchronizer(self.rx, line, init=1)
        m.d.sync += before.eq(line)
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)

        timer = Signal(range(self._cycles_per_bit))
        bits = Signal(8)
        position = Signal(range(10))
        m.d.sync += timer.eq(Mux(timer == 0, self._cycles_per_bit - 1, timer - 1))
        with m.FSM():
            with m.State("IDLE"):
                # From here every time the timer is 0, the line is in the middle of a bit.
                m.d.sync += [timer.eq(self._cycles_per_bit // 2 - 1), position.eq(0)]
                with m.If(before & ~line):
                    m.next = "BYTE"
            with m.State("BYTE"):
                with m.If(timer == 0):
                    m.d.sync += [position.eq(position + 1), bits.eq(Cat(bits[1:], line))]
                with m.If((timer == 0) & (position == 0) & line):
                    m.next = "IDLE"  # a spike, no start bit
                with m.If((timer == 0) & (position == 9)):
                    m.next = "IDLE"
                    with m.If(line & (~self.o.valid | self.o.ready)):
                        m.d.sync += [self.o.payload.eq(bits), self.o.valid.eq(1)]
        return m


class UartTransmitter(wiring.Component):
    """Turns bytes into the line `tx`; `i` is ready when the last byte is out, its stop bit included."""

    def __init__(self, cycles_per_bit: int) -> None:
        assert cycles_per_bit >= LEAST_CYCLES_PER_BIT
        self._cycles_per_bit = cycles_per_bit
        super().__init__({"i": In(stream.Signature(8)), "tx": Out(1, init=1)})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        timer = Signal(range(self._cycles_per_bit))
        bits = Signal(9, init=-1)
        left = Signal(range(11))
        m.d.comb += [self.tx.eq(bits[0]), self.i.ready.eq(left == 0)]
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += [bits.eq(Cat(0, self.i.payload)), left.eq(10), timer.eq(self._cycles_per_bit - 1)]
        with m.Elif(timer != 0):
            m.d.sync += timer.eq(timer - 1)
        with m.Elif(left != 0):
            m.d.sync += [bits.eq(Cat(bits[1:], 1)), left.eq(left - 1), timer.eq(self._cycles_per_bit - 1)]
        return m
