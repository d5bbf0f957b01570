"""The block RAMs in a bitstream file for iCE40, read and replaced in place: no other program runs.

The file is a list of commands (Project IceStorm, "iCE40 Bitstream File Format"): the high half of a byte says which,
the low half how many bytes of payload follow. Block RAMs come in banks: of all those of a bank a row of 16 bits, then
the next.
"""

from __future__ import annotations

import binascii
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bitkiln.ir import ToolError, fail

Bits = NDArray[np.bool_]

_PREAMBLE = bytes.fromhex("7eaa997e")
_DO, _SET_BANK, _CHECK, _SET_WIDTH, _SET_HEIGHT, _SET_OFFSET = 0, 1, 2, 6, 7, 8
_CRAM, _BRAM, _RESET_CRC, _WAKE_UP = 1, 3, 5, 6
_ROW_BITS, _ROWS = 16, 256


@dataclass(frozen=True)
class _Block:
    """Rows `offset` to `offset + height` of a bank, from byte `start` of the file on."""

    bank: int
    width: int
    height: int
    offset: int
    start: int

    @property
    def size(self) -> int:
        return self.width * self.height // 8

    def rows(self, data: bytes) -> Bits:
        """Return [height, width // 16, 16] bits, the lowest first."""
        packed = np.frombuffer(data, np.uint8, self.size, self.start)
        return np.unpackbits(packed).reshape(self.height, self.width // _ROW_BITS, _ROW_BITS)[:, :, ::-1].astype(bool)


@dataclass(frozen=True)
class _Layout:
    """Where the block RAMs are, and the checksum over bytes `first` to `last`, which `last` follows."""

    blocks: tuple[_Block, ...]
    first: int
    last: int


def rams_of_bitstream(data: bytes) -> dict[str, Bits]:
    """Return the contents of the block RAMs, as `ice40_contents` takes them. Raises `bad-bitstream`."""
    rams: dict[str, Bits] = {}
    for block in _layout(data).blocks:
        rows = block.rows(data)
        for number in range(rows.shape[1]):
            ram = rams.setdefault(f"{block.bank}.{number}", np.zeros(_ROWS * _ROW_BITS, bool))
            ram.reshape(_ROWS, _ROW_BITS)[block.offset : block.offset + block.height] = rows[:, number]
    return rams


def bitstream_with_rams(data: bytes, rams: Mapping[str, Bits]) -> bytes:
    """Return the file with other contents, and with their checksum. Raises `bad-bitstream`."""
    layout, result = _layout(data), bytearray(data)
    for block in layout.blocks:
        names = [f"{block.bank}.{number}" for number in range(block.width // _ROW_BITS)]
        of_bank = np.stack([rams[name].reshape(_ROWS, _ROW_BITS) for name in names], axis=1)
        rows = of_bank[block.offset : block.offset + block.height, :, ::-1]
        result[block.start : block.start + block.size] = np.packbits(rows).tobytes()
    checksum = binascii.crc_hqx(bytes(result[layout.first : layout.last]), 0xFFFF)
    result[layout.last : layout.last + 2] = checksum.to_bytes(2, "big")
    return bytes(result)


def _layout(data: bytes) -> _Layout:
    """Go through the commands; the checksum must be right."""
    bank = width = height = offset = 0
    blocks: list[_Block] = []
    first = last = -1
    for place, opcode, value, end in _commands(data):
        if (opcode, value) == (_DO, _BRAM):
            blocks.append(_Block(bank, width, height, offset, end))
        if (opcode, value) == (_DO, _RESET_CRC):
            first = end
        if opcode == _CHECK:
            last = place + 1
        bank, width = value if opcode == _SET_BANK else bank, value + 1 if opcode == _SET_WIDTH else width
        height, offset = value if opcode == _SET_HEIGHT else height, value if opcode == _SET_OFFSET else offset
    if first < 0 or last < 0 or binascii.crc_hqx(data[first:last], 0xFFFF) != int.from_bytes(data[last : last + 2]):
        raise _damaged("its checksum is wrong")
    return _Layout(tuple(blocks), first, last)


def _commands(data: bytes) -> Iterator[tuple[int, int, int, int]]:
    """(place, opcode, payload, place behind it) up to the end of the configuration; what data follow are skipped."""
    start = data.find(_PREAMBLE)
    if start < 0:
        raise _damaged("it does not begin as one")
    place, width, height = start + len(_PREAMBLE), 0, 0
    while place < len(data):
        opcode, size = divmod(data[place], 16)
        end = place + 1 + size
        value = int.from_bytes(data[place + 1 : end])
        yield place, opcode, value, end
        width, height = value + 1 if opcode == _SET_WIDTH else width, value if opcode == _SET_HEIGHT else height
        if opcode == _DO and value in (_CRAM, _BRAM):
            end += width * height // 8 + 2
        if opcode == _DO and value == _WAKE_UP:
            return
        place = end
    raise _damaged("it ends early")


def _damaged(why: str) -> ToolError:
    return fail("bad-bitstream", f"this is no whole bitstream for iCE40: {why}", hint="`bitkiln build` makes it again")
