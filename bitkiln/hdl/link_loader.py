"""Weights from the host: chunks that are checked before they are written, in order, and a digest to know them by.

A chunk waits in a memory until its frame was good, so a damaged one writes nothing. The order is kept here: only whole
sets come into use, whatever was lost on the way.
"""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from .protocol import BANK_BYTES, CHUNK_BYTES, CHUNK_NUMBER_BYTES, DIGEST_BYTES, Identity, Status
from .units import LOAD_BUS, MEMORY_PREFIX

_PLACES = 512  # one block RAM
_DIGEST_AT = _PLACES - DIGEST_BYTES


class WeightLoader(wiring.Component):
    """Writes weights on `load`. `byte` is taken as the next of a request's payload when `has_byte` is high.

    `load_chunk` writes the payload as the chunk that it says it is, `switch` brings the set that was loaded last into
    use; `done` is high for a cycle when that is over, with its `status`. A chunk that was written before is not
    written again, and neither does a repeated switch do anything: their answers may have been lost. `forget` drops what
    is not in use. `digest` is byte `digest_at` of the last digest, a cycle later, while nothing else happens.
    """

    def __init__(self, identity: Identity) -> None:
        self._chunks, self._banks = identity.chunks, identity.banks
        super().__init__(
            {
                "rewind": In(1),
                "has_byte": In(1),
                "byte": In(8),
                "load_chunk": In(1),
                "switch": In(1),
                "forget": In(1),
                "done": Out(1),
                "status": Out(8),
                "is_loaded": Out(1),
                "digest_at": In(range(DIGEST_BYTES)),
                "digest": Out(8),
                "load": Out(LOAD_BUS),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        # Named like the others of which no word is read while it is written: a payload lies below the digest.
        memory = Memory(shape=8, depth=_PLACES, init=[])
        m.submodules[f"{MEMORY_PREFIX}chunk"] = memory
        place, number = Signal(range(_PLACES)), Signal(8 * CHUNK_NUMBER_BYTES)
        write, read = memory.write_port(), memory.read_port()
        m.d.comb += [self.digest.eq(read.data), read.addr.eq(_DIGEST_AT + self.digest_at)]
        m.d.comb += [write.addr.eq(place), write.data.eq(self.byte), write.en.eq(self.has_byte)]
        with m.If(self.rewind):
            m.d.sync += place.eq(0)
        with m.Elif(self.has_byte):
            m.d.sync += place.eq(place + 1)
            with m.If(place < CHUNK_NUMBER_BYTES):
                m.d.sync += number.word_select(place[:1], 8).eq(self.byte)
        active = self.load.active
        m.d.comb += self.load.target.eq(~active if self._banks > 1 else 0)
        with m.FSM():
            self._decide(m, place, number)
            self._copy_chunk(m, place, read)
            self._keep_digest(m, place, read, write)
        return m

    def _decide(self, m: Module, place: Signal, number: Signal) -> None:
        """What a good frame asks for, against what was loaded so far."""
        due = Signal(range(self._chunks + 1))
        is_whole = due == self._chunks
        bank = number[0] if self._banks > 1 else Const(0)
        with m.State("IDLE"):
            with m.If(self.load_chunk & ((number == 0) | ((number == due) & ~is_whole))):
                m.d.comb += self.load.start.eq(number == 0)
                m.d.sync += [due.eq(number + 1), place.eq(CHUNK_NUMBER_BYTES)]
                if self._banks == 1:
                    m.d.sync += self.is_loaded.eq(0)
                m.next = "CHUNK"
            with m.Elif(self.load_chunk):
                is_repeated = number + 1 == due
                m.d.comb += [self.done.eq(1), self.status.eq(Mux(is_repeated, Status.OK, Status.OUT_OF_ORDER))]
            with m.If(self.switch & is_whole & (bank == self.load.target)):
                m.d.sync += [due.eq(0), place.eq(BANK_BYTES)]
                m.next = "DIGEST"
            with m.Elif(self.switch):
                is_repeated = self.is_loaded & (bank == self.load.active)
                m.d.comb += [self.done.eq(1), self.status.eq(Mux(is_repeated, Status.OK, Status.NOT_LOADED))]
            with m.If(self.forget):
                m.d.sync += due.eq(0)

    def _copy_chunk(self, m: Module, place: Signal, read: Any) -> None:
        low, is_read = Signal(8), Signal()
        with m.State("CHUNK"):
            m.d.comb += [
                read.addr.eq(place),
                self.load.data.eq(Cat(low, read.data)),
                self.load.valid.eq(is_read & (place[0] == CHUNK_NUMBER_BYTES % 2)),
            ]
            m.d.sync += [low.eq(read.data), place.eq(place + 1), is_read.eq(1)]
            with m.If(place == CHUNK_NUMBER_BYTES + CHUNK_BYTES):
                m.d.comb += self.done.eq(1)
                m.d.sync += is_read.eq(0)
                m.next = "IDLE"

    def _keep_digest(self, m: Module, place: Signal, read: Any, write: Any) -> None:
        with m.State("DIGEST"):
            m.d.comb += [
                read.addr.eq(place),
                write.addr.eq(_DIGEST_AT - BANK_BYTES - 1 + place),
                write.data.eq(read.data),
                write.en.eq(place != BANK_BYTES),
            ]
            m.d.sync += place.eq(place + 1)
            with m.If(place == BANK_BYTES + DIGEST_BYTES):
                m.d.comb += self.done.eq(1)
                m.d.sync += [self.is_loaded.eq(1), self.load.active.eq(self.load.target)]
                m.next = "IDLE"
