"""Which bit of which block RAM of an iCE40 holds which bit of a memory: found by the values, and changed there.

The contents of a template are random, so 64 of them after one another occur nowhere else. That finds the bits whatever
synthesis and placement did with the memory; the order in which a block RAM keeps its words is ice40_memory.py's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from bitkiln.ir import fail

from .ice40_memory import WORD_BITS, WORDS, physical_bits
from .renewal import Contents

Bits = NDArray[np.bool_]
_BRAM_BITS = WORD_BITS * WORDS
_WIDTHS = (2, 4, 8, 16)
_LEAST = 64
_RAM_DATA = re.compile(r"^(\.ram_data \d+ \d+)\n((?:[0-9a-f]{64}\n){16})", re.MULTILINE)
_CELL = re.compile(r"^( *SB_RAM40_4K #\(\n(?:.*\n)*?  \) (\S+) +\()$", re.MULTILINE)
_INIT = re.compile(r"\.INIT_([0-9A-F])\(256'(h[0-9a-fx]+|b[01x]+)\)")


@dataclass(frozen=True)
class Place:
    """Data bit `bit` of the words of a memory from `first` on is data bit `lane` of a block RAM that is read `width`
    bits wide; `ram` names the block RAM, `memory` is the number of the memory.
    """

    ram: str
    width: int
    lane: int
    memory: int
    bit: int
    first: int


def find_places(rams: Mapping[str, Bits], memories: Sequence[Contents]) -> tuple[Place, ...]:
    """Return the place of every bit of the memories, whose contents must be random.

    Raises `not-patchable` if one is not found, or found twice.
    """
    columns = {width: _columns(memories, width) for width in _WIDTHS}
    found = [
        Place(name, width, lane, *columns[width][key])
        for name, bits in rams.items()
        for width in _WIDTHS
        for lane in range(width)
        if (key := bits[_order(width)[lane, :_LEAST]].tobytes()) in columns[width]
    ]
    seen = sum(_length(place, memories) for place in found)
    needed = sum(memory.width * len(memory.words) for memory in memories)
    if seen != needed or len({(place.memory, place.bit, place.first) for place in found}) != len(found):
        message = f"of {needed} bits of renewable memories {seen} were found in block RAMs"
        raise fail("not-patchable", message, hint="this is a fault of bitkiln; build without --renewable")
    return tuple(found)


def renewed(rams: Mapping[str, Bits], places: Sequence[Place], memories: Sequence[Contents]) -> dict[str, Bits]:
    """Return the block RAMs with these contents at those places."""
    bits = [_bits(memory) for memory in memories]
    result = {name: contents.copy() for name, contents in rams.items()}
    for place in places:
        count = min(_BRAM_BITS // place.width, len(memories[place.memory].words) - place.first)
        column = bits[place.memory][place.first : place.first + count, place.bit]
        result[place.ram][_order(place.width)[place.lane, :count]] = column
    return result


def rams_of(asc: str) -> dict[str, Bits]:
    """Return the contents of the block RAMs of a bitstream as text, by the line that names them."""
    return {match[1]: _joined(match[2].split()) for match in _RAM_DATA.finditer(asc)}


def with_rams(asc: str, rams: Mapping[str, Bits]) -> str:
    """Return the text with other contents."""

    def changed(match: re.Match[str]) -> str:
        rows = _rows(rams[match[1]])
        return f"{match[1]}\n" + "".join(f"{row:064x}\n" for row in rows)

    return _RAM_DATA.sub(changed, asc)


def rams_of_netlist(netlist: str) -> dict[str, Bits]:
    """The same of a netlist in Verilog, by the names of cells."""
    found = {}
    for match in _CELL.finditer(netlist):
        rows = {int(number, 16): text for number, text in _INIT.findall(match[1])}
        found[match[2]] = _joined([_hexadecimal(rows.get(n, "h0")) for n in range(WORDS)])
    return found


def netlist_with_rams(netlist: str, rams: Mapping[str, Bits]) -> str:
    """Return the netlist with other contents."""

    def changed(match: re.Match[str]) -> str:
        rows = _rows(rams[match[2]])
        return _INIT.sub(lambda init: f".INIT_{init[1]}(256'h{rows[int(init[1], 16)]:064x})", match[1])

    return _CELL.sub(changed, netlist)


def _hexadecimal(text: str) -> str:
    digits = text[1:].replace("x", "0")
    return digits if text[0] == "h" else f"{int(digits, 2):x}"


def _joined(rows: Sequence[str]) -> Bits:
    """Bits of the rows, the lowest first."""
    packed = np.frombuffer(b"".join(int(row, 16).to_bytes(WORD_BITS // 8, "little") for row in rows), np.uint8)
    return np.unpackbits(packed, bitorder="little").astype(bool)


def _rows(bits: Bits) -> list[int]:
    data = np.packbits(bits, bitorder="little").tobytes()
    size = WORD_BITS // 8
    return [int.from_bytes(data[n : n + size], "little") for n in range(0, len(data), size)]


@cache
def _order(width: int) -> NDArray[np.int64]:
    """[lane, word]: which bit of a block RAM it is."""
    return np.array(physical_bits(width), np.int64)


def _bits(memory: Contents) -> Bits:
    """[word, bit]."""
    size = -(-memory.width // 8)
    data = b"".join(word.to_bytes(size, "little") for word in memory.words)
    rows = np.frombuffer(data, np.uint8).reshape(-1, size)
    return np.unpackbits(rows, axis=1, bitorder="little")[:, : memory.width].astype(bool)


def _columns(memories: Sequence[Contents], width: int) -> dict[bytes, tuple[int, int, int]]:
    """(memory, bit, first word) by the values of the words that begin there."""
    depth = _BRAM_BITS // width
    return {
        bits[first : first + _LEAST, bit].tobytes(): (number, bit, first)
        for number, bits in enumerate(map(_bits, memories))
        for first in range(0, len(bits), depth)
        for bit in range(bits.shape[1])
    }


def _length(place: Place, memories: Sequence[Contents]) -> int:
    return min(_BRAM_BITS // place.width, len(memories[place.memory].words) - place.first)
