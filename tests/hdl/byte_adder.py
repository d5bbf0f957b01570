"""A small accelerator for tests of what is around one: it adds the bytes of an image."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from bitkiln.hdl.protocol import Identity, StreamFormat
from bitkiln.ir.units import Beat

DIGEST = bytes(range(32))


def adder_identity(beats: int, clock_hz: int) -> Identity:
    image = StreamFormat(Beat(lanes=1, bits=8, signed=False), beats)
    result = StreamFormat(Beat(lanes=1, bits=16, signed=False), 1)
    return Identity(image, result, clock_hz, DIGEST)


def adder_latency_cycles(beats: int) -> int:
    return beats + 1


class ByteAdder(wiring.Component):
    """Takes `beats` bytes and gives their sum, 16 bits, in the cycle after the last byte.

    With `is_deaf` it takes bytes but never gives a sum.
    """

    def __init__(self, beats: int, *, is_deaf: bool = False) -> None:
        self.beats = beats
        self.is_deaf = is_deaf
        super().__init__({"i": In(stream.Signature(8)), "o": Out(stream.Signature(16))})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        count = Signal(range(self.beats))
        m.d.comb += self.i.ready.eq(~self.o.valid)
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += [
                self.o.payload.eq(Mux(count == 0, 0, self.o.payload) + self.i.payload),
                count.eq(count + 1),
            ]
            with m.If(count == self.beats - 1):
                m.d.sync += [count.eq(0), self.o.valid.eq(not self.is_deaf)]
        with m.If(self.o.valid & self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        return m
