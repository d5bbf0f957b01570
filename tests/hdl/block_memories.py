"""An accelerator for tests of netlists: block RAMs of every width, one that is written, and multipliers."""

from __future__ import annotations

import random
from typing import Any

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from bitkiln.hdl.protocol import Identity, StreamFormat
from bitkiln.ir.units import Beat

DEPTHS = {36: 512, 18: 1024, 9: 2048, 4: 4096, 2: 8192, 1: 16384}
COUNTERS = 2048
ADDRESS_BITS = 14
_SIGNED_BITS, _UNSIGNED_BITS = 9, 8
_BITS = sum(DEPTHS) + 9 + 2 * _SIGNED_BITS + 2 * _UNSIGNED_BITS


def contents(width: int) -> list[int]:
    """Return what the memory of `width` holds at the start; 0 stands for the counters."""
    draw = random.Random(width)
    return [draw.getrandbits(width or 9) for _ in range(DEPTHS.get(width, COUNTERS))]


def memories_identity(clock_hz: int) -> Identity:
    image = StreamFormat(Beat(lanes=1, bits=ADDRESS_BITS, signed=False), 1)
    return Identity(image, StreamFormat(Beat(lanes=1, bits=_BITS, signed=False), 1), clock_hz, bytes(32))


class Memories(wiring.Component):
    """Takes an address and gives the word of each memory there, a counter of visits, and two products of words."""

    def __init__(self) -> None:
        super().__init__({"i": In(stream.Signature(ADDRESS_BITS)), "o": Out(stream.Signature(_BITS))})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        step = Signal(range(4))
        m.d.comb += self.i.ready.eq((step == 0) & ~self.o.valid)
        with m.If((self.i.valid & self.i.ready) | (step != 0)):
            m.d.sync += step.eq(step + 1)
        with m.If(step == 3):
            m.d.sync += self.o.valid.eq(1)
        with m.If(self.o.valid & self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        words = {width: self._memory(m, width).data for width in DEPTHS}
        counter = self._counter(m, step)
        signed = words[18][:_SIGNED_BITS].as_signed() * words[18][_SIGNED_BITS:].as_signed()
        unsigned = words[36][:_UNSIGNED_BITS] * words[36][_UNSIGNED_BITS : 2 * _UNSIGNED_BITS]
        with m.If(step == 1):
            m.d.sync += self.o.payload.eq(Cat(*words.values(), counter, signed[:18], unsigned[:16]))
        return m

    def _memory(self, m: Module, width: int) -> Any:
        memory = Memory(shape=width, depth=DEPTHS[width], init=contents(width), attrs={"ram_style": "block"})
        m.submodules[f"memory{width}"] = memory
        port = memory.read_port()
        m.d.comb += [port.addr.eq(self.i.payload), port.en.eq(self.i.valid & self.i.ready)]
        return port

    def _counter(self, m: Module, step: Signal) -> Any:
        m.submodules.counters = memory = Memory(shape=9, depth=COUNTERS, init=contents(0), attrs={"ram_style": "block"})
        read, write = memory.read_port(), memory.write_port()
        m.d.comb += [read.addr.eq(self.i.payload), read.en.eq(self.i.valid & self.i.ready)]
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += write.addr.eq(self.i.payload)
        m.d.comb += [write.data.eq(read.data + 1), write.en.eq(step == 2)]
        return read.data


def expected(addresses: list[int]) -> list[int]:
    """Return the results for addresses that are given one after the other."""
    counters = contents(0)
    results = []
    for address in addresses:
        words = {width: contents(width)[address % depth] for width, depth in DEPTHS.items()}
        value, place = 0, 0
        low, high = words[18] & 0x1FF, words[18] >> 9
        product = (low - (low & 0x100) * 2) * (high - (high & 0x100) * 2)
        fields = [*words.items(), (9, counters[address % COUNTERS]), (18, product & 0x3FFFF)]
        for width, word in (*fields, (16, (words[36] & 0xFF) * (words[36] >> 8 & 0xFF))):
            value |= word << place
            place += width
        counters[address % COUNTERS] = (counters[address % COUNTERS] + 1) % 512
        results.append(value)
    return results
