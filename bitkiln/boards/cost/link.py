"""The bill of what a board's top level has around the accelerator: serial port, host link, buffers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from bitkiln.boards import Board
from bitkiln.ir import Stream
from bitkiln.ir.units import MatrixVector, Unit

from .bill import Bill, Part
from .memories import Memory, Style

_LATENCY_BYTES = 4
_WATCHDOG_SECONDS = 2
_CHUNK_PLACES, _IDENTITY_PLACES = 512, 128


@dataclass(frozen=True)
class WeightSource:
    """Whether the host loads weights, and whether some can be replaced in the bitstream, the identity with them."""

    is_loaded: bool = False
    is_renewable: bool = False

    @classmethod
    def of(cls, units: Iterable[Unit]) -> WeightSource:
        weighted = [unit for unit in units if isinstance(unit, MatrixVector)]
        loaded = any(unit.storage.is_loaded for unit in weighted)
        return cls(loaded, any(unit.renewable and not unit.storage.is_loaded for unit in weighted))


def link_bill(board: Board, source: Stream, sink: Stream, weights: WeightSource, constant_bits: int = 0) -> Bill:
    """Return the bill of the link for these streams into and out of the accelerator.

    `constant_bits` of each beat of `sink` never change: they are not stored.
    """
    bill = Bill(board)
    bill.add(Part.LINK, 1)
    if weights.is_loaded:
        bill.add(Part.LOADER, 1)
        bill.memory(Memory(_CHUNK_PLACES, 8, is_written=True))
    if weights.is_renewable:
        bill.memory(Memory(_IDENTITY_PLACES, 8, style=Style.BLOCK))
    for stream, constant in ((source, 0), (sink, constant_bits)):
        bill.memory(Memory(max(stream.beats, 2), stream.beat.width - constant, is_written=True))
    bill.counter(_WATCHDOG_SECONDS * board.clock_hz)
    bill.add(Part.WIRE_REGISTER, 8 * (_bytes(source) - 1))
    bill.add(Part.LOGIC_REGISTER, 8 * max(_bytes(sink), _LATENCY_BYTES))
    for stream in (source, sink):
        bill.counter(stream.beats + 1)
        bill.counter(stream.beats + 1)
        bill.counter(stream.beats + 1)
    return bill


def _bytes(stream: Stream) -> int:
    return (stream.beat.width + 7) // 8
