"""Between packets of AXI4-Stream and the beats of an accelerator, which counts its beats and knows no tlast.

A packet is an image. One that is too short is filled up with zeros, what is too long of one is dropped: so packet and
result stay in step whatever the source does, and an error tells that a result is of no use.
"""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from bitkiln.hdl.protocol import StreamFormat


def tdata_bytes(beat_bits: int) -> int:
    """Return how many bytes wide a stream's tdata is: a power of two, as AXI DMAs and width converters like it."""
    return 1 << ((beat_bits + 7) // 8 - 1).bit_length()


class InputFraming(wiring.Component):
    """Packets in, the beats of whole images out.

    `is_first` and `is_last` say that the beat that leaves in this cycle is an image's first or last; `is_early` and
    `is_late` that a wrong tlast was found in it. Bits of `tdata` above a beat's are ignored.
    """

    def __init__(self, image: StreamFormat) -> None:
        self._image = image
        super().__init__(
            {
                "tdata": In(8 * tdata_bytes(image.beat.width)),
                "tvalid": In(1),
                "tready": Out(1),
                "tlast": In(1),
                "o": Out(stream.Signature(image.beat.width)),
                "is_first": Out(1),
                "is_last": Out(1),
                "is_early": Out(1),
                "is_late": Out(1),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        beats = self._image.beats
        position, moves, is_end = Signal(range(max(beats, 2))), Signal(), Signal()
        m.d.comb += [
            moves.eq(self.o.valid & self.o.ready),
            is_end.eq(position == beats - 1),
            self.is_first.eq(moves & (position == 0)),
            self.is_last.eq(moves & is_end),
        ]
        with m.If(moves):
            m.d.sync += position.eq(Mux(is_end, 0, position + 1))
        with m.FSM():
            with m.State("PASS"):
                m.d.comb += [
                    self.o.valid.eq(self.tvalid),
                    self.o.payload.eq(self.tdata),
                    self.tready.eq(self.o.ready),
                    self.is_early.eq(moves & self.tlast & ~is_end),
                    self.is_late.eq(moves & ~self.tlast & is_end),
                ]
                with m.If(self.is_early):
                    m.next = "FILL"
                with m.If(self.is_late):
                    m.next = "DROP"
            with m.State("FILL"):
                m.d.comb += self.o.valid.eq(1)
                with m.If(self.is_last):
                    m.next = "PASS"
            with m.State("DROP"):
                m.d.comb += self.tready.eq(1)
                with m.If(self.tvalid & self.tlast):
                    m.next = "PASS"
        return m


class OutputFraming(wiring.Component):
    """The beats of results in, a packet a result out; the bits of `tdata` above a beat's are 0.

    `is_last` says that a result's last beat leaves in this cycle.
    """

    def __init__(self, result: StreamFormat) -> None:
        self._result = result
        super().__init__(
            {
                "i": In(stream.Signature(result.beat.width)),
                "tdata": Out(8 * tdata_bytes(result.beat.width)),
                "tvalid": Out(1),
                "tready": In(1),
                "tlast": Out(1),
                "is_last": Out(1),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        beats = self._result.beats
        position, moves = Signal(range(max(beats, 2))), Signal()
        m.d.comb += [
            moves.eq(self.tvalid & self.tready),
            self.tdata.eq(self.i.payload),
            self.tvalid.eq(self.i.valid),
            self.i.ready.eq(self.tready),
            self.tlast.eq(position == beats - 1),
            self.is_last.eq(moves & self.tlast),
        ]
        with m.If(moves):
            m.d.sync += position.eq(Mux(self.tlast, 0, position + 1))
        return m
