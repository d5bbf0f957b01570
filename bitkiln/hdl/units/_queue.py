"""The queue at each output of a unit, with credits: a step that gives a beat starts only if a place is free for it.

So pipelines never stall, and the cycle at which a step may run depends on the past alone.
"""

from __future__ import annotations

from amaranth.hdl import Array, Module, Mux, Signal, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out


class Queue(wiring.Component):
    """First-in first-out queue of `depth` places, of registers (visible the cycle after) or memory (two after).

    `is_idle` says that every place is free. `issue` takes a place while `room` is high; the beat enters by `push` in
    the same or a later cycle. A place is free again the cycle after its beat left by `o`.
    """

    def __init__(self, width: int, depth: int, is_memory: bool) -> None:
        self.width, self.depth, self.is_memory = width, depth, is_memory
        super().__init__(
            {
                "issue": In(1),
                "room": Out(1),
                "is_idle": Out(1),
                "push": In(1),
                "payload": In(unsigned(width)),
                "o": Out(stream.Signature(unsigned(width))),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        free = Signal(range(self.depth + 1), init=self.depth)
        pop = Signal()
        m.d.comb += [
            self.room.eq(free != 0),
            self.is_idle.eq(free == self.depth),
            pop.eq(self.o.valid & self.o.ready),
        ]
        m.d.sync += free.eq(free - self.issue + pop)
        if self.is_memory:
            self._memory(m, pop)
        else:
            self._registers(m, pop)
        return m

    def _registers(self, m: Module, pop: Signal) -> None:
        """A shift register: the head is always entry 0, a new beat goes behind the last."""
        entries = Array(Signal(self.width, name=f"entry{i}", reset_less=True) for i in range(self.depth))
        level, tail = Signal(range(self.depth + 1)), Signal(range(self.depth + 1))
        m.d.comb += [self.o.valid.eq(level != 0), self.o.payload.eq(entries[0]), tail.eq(level - pop)]
        m.d.sync += level.eq(tail + self.push)
        for i in range(self.depth):
            with m.If(self.push & (tail == i)):
                m.d.sync += entries[i].eq(self.payload)
            if i + 1 < self.depth:
                with m.Elif(pop):
                    m.d.sync += entries[i].eq(entries[i + 1])

    def _memory(self, m: Module, pop: Signal) -> None:
        """A ring whose read port keeps the head: the next beat is fetched when the head is empty or leaves."""
        m.submodules.ring = ring = Memory(shape=unsigned(self.width), depth=self.depth, init=[])
        write, read = ring.write_port(), ring.read_port(domain="sync")
        stored, fetch = Signal(range(self.depth + 1)), Signal()
        m.d.comb += [
            fetch.eq((stored != 0) & (~self.o.valid | self.o.ready)),
            write.en.eq(self.push),
            write.data.eq(self.payload),
            read.en.eq(fetch),
            self.o.payload.eq(read.data),
        ]
        m.d.sync += [stored.eq(stored + self.push - fetch), self.o.valid.eq(fetch | (self.o.valid & ~pop))]
        for enable, address in ((self.push, write.addr), (fetch, read.addr)):
            position = Signal(range(self.depth), name="position")
            m.d.comb += address.eq(position)
            with m.If(enable):
                m.d.sync += position.eq(Mux(position == self.depth - 1, 0, position + 1))
