"""Small components with a stream in and a stream out, right ones and broken ones, for the tests of the harnesses."""

from __future__ import annotations

import numpy as np
from amaranth.hdl import Cat, Elaboratable, Module, Mux, Signal
from amaranth.lib import fifo, stream, wiring
from amaranth.lib.wiring import In, Out

from bitkiln.hdl.trace import Beats


class Dummy(wiring.Component):
    """Base: the streams `i` and `o` of the given widths."""

    def __init__(self, input_bits: int, output_bits: int) -> None:
        super().__init__({"i": In(stream.Signature(input_bits)), "o": Out(stream.Signature(output_bits))})


class AddingFifo(Dummy):
    """Adds its index to each byte of the payload; a FIFO of 4 beats behind."""

    def __init__(self, lanes: int) -> None:
        super().__init__(8 * lanes, 8 * lanes)
        self.lanes = lanes

    def elaborate(self, platform: object) -> Elaboratable:
        m = Module()
        m.submodules.fifo = buffer = fifo.SyncFIFOBuffered(width=8 * self.lanes, depth=4)
        wiring.connect(m, buffer.r_stream, wiring.flipped(self.o))
        sums = [(self.i.payload.word_select(lane, 8) + lane)[:8] for lane in range(self.lanes)]
        m.d.comb += [
            buffer.w_stream.payload.eq(Cat(sums)),
            buffer.w_stream.valid.eq(self.i.valid),
            self.i.ready.eq(buffer.w_stream.ready),
        ]
        return m

    def expected(self, beats: Beats) -> Beats:
        return np.add(beats, np.arange(self.lanes, dtype=np.uint8), dtype=np.uint8)


class Gatherer(Dummy):
    """Gives one beat for every `count` beats: their payloads side by side, the first one lowest."""

    def __init__(self, input_bits: int, count: int) -> None:
        super().__init__(input_bits, count * input_bits)
        self.input_bits = input_bits
        self.count = count

    def elaborate(self, platform: object) -> Elaboratable:
        m = Module()
        held = Signal(self.input_bits * self.count)
        filled = Signal(range(self.count + 1))
        m.d.comb += [
            self.o.payload.eq(held),
            self.o.valid.eq(filled == self.count),
            self.i.ready.eq(~self.o.valid | self.o.ready),
        ]
        with m.If(self.o.valid & self.o.ready):
            m.d.sync += filled.eq(0)
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += [
                held.eq(Cat(held[self.input_bits :], self.i.payload)),
                filled.eq((filled % self.count) + 1),
            ]
        return m

    def expected(self, beats: Beats) -> Beats:
        bits = np.unpackbits(beats, axis=1, bitorder="little")[:, : self.input_bits]
        return np.packbits(bits.reshape(-1, self.count * self.input_bits), axis=1, bitorder="little")


class Inverter(Dummy):
    """Inverts one bit without a register, so it has no clock."""

    def __init__(self) -> None:
        super().__init__(1, 1)

    def elaborate(self, platform: object) -> Elaboratable:
        m = Module()
        m.d.comb += [
            self.o.payload.eq(~self.i.payload),
            self.o.valid.eq(self.i.valid),
            self.i.ready.eq(self.o.ready),
        ]
        return m

    def expected(self, beats: Beats) -> Beats:
        return beats ^ np.uint8(1)


class Restless(Dummy):
    """Broken: offers a payload that changes in every cycle."""

    def __init__(self) -> None:
        super().__init__(8, 8)

    def elaborate(self, platform: object) -> Elaboratable:
        m = Module()
        m.d.sync += self.o.payload.eq(self.o.payload + 1)
        m.d.comb += [self.o.valid.eq(1), self.i.ready.eq(1)]
        return m


class Impatient(Dummy):
    """Broken: passes beats on, but takes an offer back after one cycle."""

    def __init__(self) -> None:
        super().__init__(8, 8)

    def elaborate(self, platform: object) -> Elaboratable:
        m = Module()
        m.d.comb += self.i.ready.eq(1)
        m.d.sync += [self.o.payload.eq(self.i.payload), self.o.valid.eq(self.i.valid)]
        return m


class Swallower(Dummy):
    """Broken: accepts `count` beats and gives one output, then nothing ever again."""

    def __init__(self, count: int, *, is_counting: bool) -> None:
        super().__init__(8, 8)
        self.count = count
        self.is_counting = is_counting

    def elaborate(self, platform: object) -> Elaboratable:
        m = Module()
        accepted = Signal(range(self.count + 1))
        is_given = Signal()
        m.d.comb += [self.i.ready.eq(accepted != self.count), self.o.valid.eq((accepted != 0) & ~is_given)]
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += accepted.eq(accepted + 1)
        with m.If(self.o.valid & self.o.ready):
            m.d.sync += is_given.eq(1)
        if self.is_counting:
            cycle = Signal(8)
            m.d.sync += cycle.eq(cycle + 1)
            m.d.comb += self.o.payload.eq(Mux(is_given, cycle, 0))
        return m


class Stutterer(Dummy):
    """Broken: gives every beat twice."""

    def __init__(self) -> None:
        super().__init__(8, 8)

    def elaborate(self, platform: object) -> Elaboratable:
        m = Module()
        left = Signal(2)
        m.d.comb += [self.i.ready.eq(left == 0), self.o.valid.eq(left != 0)]
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += [self.o.payload.eq(self.i.payload), left.eq(2)]
        with m.If(self.o.valid & self.o.ready):
            m.d.sync += left.eq(left - 1)
        return m


def random_beats(count: int, bits: int, seed: int) -> Beats:
    """Return uniformly random payloads of `bits` bits."""
    choice = np.random.default_rng(seed).integers(0, 2, (count, bits), dtype=np.uint8)
    return np.packbits(choice, axis=1, bitorder="little")
