"""The memories of a matrix-vector unit's constants: filled by the bitstream, or by the host one after the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from amaranth.hdl import Module, Value, unsigned
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out, connect, flipped

from bitkiln.ir.units import MatrixVector, Storage

from ._loaded import LOAD_BUS, LoadedMemory

WEIGHTS, ROWS = "weights", "rows"

RENEWABLE_PREFIX = "renewable_"
"""Of the names of memories whose contents may be replaced in a finished bitstream."""

RENEWABLE_WORDS = 64
"""Their words are a multiple of it, so that in each block RAM a bit of them can be told from others by its values
(`bitkiln.hdl.ice40_contents`).
"""


class Constants:
    """What holds the constants of `unit`, in the order in which they are asked for."""

    def __init__(self, unit: MatrixVector) -> None:
        self._unit = unit
        self._loaded: list[LoadedMemory] = []

    @property
    def are_memories(self) -> bool:
        """True if a single word is no constant in logic either."""
        return self._unit.renewable or self._unit.storage.is_loaded

    @property
    def ports(self) -> Mapping[str, wiring.Member]:
        """What the unit has beside its streams: the bus, whether its turn has come, and whether it is over."""
        if not self._unit.storage.is_loaded:
            return {}
        return {"load": In(LOAD_BUS), "is_loading": In(1), "is_loaded": Out(1)}

    def read(self, m: Module, name: str, words: Sequence[int], width: int, address: Value) -> Value:
        """Return the word at `address` in the cycle before."""
        if self._unit.storage.is_loaded:
            is_big = self._unit.storage is Storage.BIG and name == WEIGHTS
            loaded = LoadedMemory(len(words), width, self._unit.banks, is_big=is_big)
            m.submodules[name] = loaded
            m.d.comb += loaded.address.eq(address)
            self._loaded.append(loaded)
            return loaded.data
        memory = self._filled(name, words, width)
        m.submodules[f"{RENEWABLE_PREFIX}{name}" if self._unit.renewable else name] = memory
        port = memory.read_port(domain="sync")
        m.d.comb += port.addr.eq(address)
        return port.data

    def connect(self, m: Module, ports: wiring.Component) -> None:
        """Join the memories that were asked for to the unit's ports."""
        is_mine: Value = ports.is_loading
        for memory in self._loaded:
            connect(m, flipped(ports.load), memory.load)
            m.d.comb += memory.is_mine.eq(is_mine)
            is_mine = memory.is_full
        m.d.comb += ports.is_loaded.eq(is_mine)

    def _filled(self, name: str, words: Sequence[int], width: int) -> Memory:
        attributes = {}
        depth = len(words)
        if self._unit.renewable or name == WEIGHTS:
            style = "block" if self._unit.storage is Storage.BLOCK else "logic"
            attributes = {"rom_style": style, "ram_style": style}
        if self._unit.renewable:
            depth = -(-depth // RENEWABLE_WORDS) * RENEWABLE_WORDS
        return Memory(shape=unsigned(width), depth=depth, init=words, attrs=attributes)
