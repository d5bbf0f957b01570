"""The bill of what a board's top level has around the accelerator: serial port, host link, buffers."""

from __future__ import annotations

from bitkiln.boards import Board
from bitkiln.ir import Stream

from .bill import Bill, Part
from .memories import Memory

_LATENCY_BYTES = 4
_WATCHDOG_SECONDS = 2


def link_bill(board: Board, source: Stream, sink: Stream) -> Bill:
    """Return the bill of the link for these streams into and out of the accelerator."""
    bill = Bill(board.family)
    bill.add(Part.LINK, 1)
    for stream in (source, sink):
        bill.memory(Memory(max(stream.beats, 2), stream.beat.width, is_written=True))
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
