"""Counts what goes in and comes out, for the registers."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

_LONGEST = (1 << 32) - 1


class Monitor(wiring.Component):
    """The counters behind the registers of the same names (`registers.py`), from what the framings tell."""

    def __init__(self) -> None:
        super().__init__(
            {
                "image_starts": In(1),
                "image_ends": In(1),
                "result_ends": In(1),
                "is_early": In(1),
                "is_late": In(1),
                "clear_errors": In(1),
                "status": Out(32),
                "images": Out(32),
                "results": Out(32),
                "wrong_packets": Out(32),
                "latency": Out(32),
                "interval": Out(32),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        m.d.sync += [
            self.images.eq(self.images + self.image_ends),
            self.results.eq(self.results + self.result_ends),
        ]
        self._errors(m)
        self._times(m)
        return m

    def _errors(self, m: Module) -> None:
        early, late = Signal(), Signal()
        m.d.comb += [self.status[1].eq(early), self.status[2].eq(late)]
        with m.If(self.clear_errors):
            m.d.sync += [early.eq(0), late.eq(0), self.wrong_packets.eq(0)]
        with m.If(self.is_early | self.is_late):
            kept = Mux(self.clear_errors, 0, self.wrong_packets)
            m.d.sync += self.wrong_packets.eq(kept + 1)
        with m.If(self.is_early):
            m.d.sync += early.eq(1)
        with m.If(self.is_late):
            m.d.sync += late.eq(1)

    def _times(self, m: Module) -> None:
        """How long an image took that came when nothing was in flight, and how far apart the results are."""
        flying, is_timed, has_result = Signal(32), Signal(), Signal()
        waited, since = Signal(32), Signal(32)
        starts_alone = self.image_starts & (flying == 0)
        m.d.comb += self.status[0].eq(flying != 0)
        m.d.sync += [
            flying.eq(flying + self.image_starts - self.result_ends),
            waited.eq(Mux(waited == _LONGEST, waited, waited + 1)),
            since.eq(Mux(since == _LONGEST, since, since + 1)),
        ]
        with m.If(starts_alone):
            m.d.sync += [is_timed.eq(1), waited.eq(2)]
        with m.If(self.result_ends):
            m.d.sync += [since.eq(1), has_result.eq(1), is_timed.eq(0)]
            with m.If(has_result):
                m.d.sync += self.interval.eq(since)
            with m.If(is_timed):
                m.d.sync += self.latency.eq(waited)
