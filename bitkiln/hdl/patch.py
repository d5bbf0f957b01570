"""New weights in a finished bitstream for iCE40, without place and route.

A renewable design is built as its template, whose random contents say where each bit went; then its own contents take
their place. The record beside the bitstream keeps those places, so that later weights can do the same.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import astuple, dataclass, replace
from pathlib import Path

from bitkiln.boards import Board
from bitkiln.ir import fail

from .build import BuildResult, build_bundle
from .bundle import Bundle
from .ice40_bitstream import bitstream_with_rams, rams_of_bitstream
from .ice40_contents import (
    Place,
    find_places,
    netlist_with_rams,
    rams_of,
    rams_of_netlist,
    renewed,
    with_rams,
)
from .renewal import Contents, renewable_contents, structure_digest, template

_FORMAT = 1


@dataclass(frozen=True)
class PatchRecord:
    """The structure of a bitstream, by digest, and where in it its memories (name, width, words) have their bits.

    `use_dsp` is what it was built with.
    """

    board: str
    use_dsp: bool
    structure: str
    bitstream: str
    memories: tuple[tuple[str, int, int], ...]
    places: tuple[Place, ...]

    def encode(self) -> bytes:
        plain = {
            "format": _FORMAT,
            "board": self.board,
            "use_dsp": self.use_dsp,
            "structure": self.structure,
            "bitstream": self.bitstream,
            "memories": self.memories,
            "places": [astuple(place) for place in self.places],
        }
        return (json.dumps(plain) + "\n").encode()

    @classmethod
    def decode(cls, data: bytes, name: str) -> PatchRecord:
        """Raises `bad-record`."""
        try:
            plain = json.loads(data)
            if plain["format"] != _FORMAT:
                raise ValueError(f"its format is {plain['format']}")
            memories = tuple((str(name), int(width), int(words)) for name, width, words in plain["memories"])
            places = tuple(Place(str(ram), *map(int, rest)) for ram, *rest in plain["places"])
            return cls(plain["board"], plain["use_dsp"], plain["structure"], plain["bitstream"], memories, places)
        except (ValueError, KeyError, TypeError) as error:
            message = f"{name} is no record of a build with --renewable: {error}"
            raise fail(
                "bad-record", message, hint="`bitkiln build --renewable` makes bitstream and record again"
            ) from None


def record_path(bitstream: Path) -> Path:
    """Return where the record of a bitstream is."""
    return bitstream.with_suffix(".renewal.json")


def build_renewable(
    design: Bundle,
    board: Board,
    *,
    cache: Path | None,
    on_step: Callable[[str], None],
    use_dsp: bool,
    must_meet_clock: bool,
) -> BuildResult:
    """Build the template of `design`, which all of its structure share in the cache, and put in its contents."""
    blank = template(design)
    built = build_bundle(blank, board, cache=cache, on_step=on_step, use_dsp=use_dsp, must_meet_clock=must_meet_clock)
    random, own = renewable_contents(blank), renewable_contents(design)
    rams = rams_of_bitstream(built.bitstream)
    places = find_places(rams, random)
    bitstream = bitstream_with_rams(built.bitstream, renewed(rams, places, own))
    netlist, routed = built.netlist.decode(), built.routed.decode()
    cells, tiles = rams_of_netlist(netlist), rams_of(routed)
    return replace(
        built,
        bitstream=bitstream,
        netlist=netlist_with_rams(netlist, renewed(cells, find_places(cells, random), own)).encode(),
        routed=with_rams(routed, renewed(tiles, find_places(tiles, random), own)).encode(),
        design_digest=design.digest(),
        record=_record(board, use_dsp, design, bitstream, places).encode(),
    )


def patched(old: bytes, record: PatchRecord, design: Bundle, board: Board) -> tuple[bytes, PatchRecord]:
    """Return the bitstream `old` with the contents of `design`, and its record.

    Raises `not-patchable` if the two differ in more than contents, `bad-bitstream` if `old` is not what is recorded.
    """
    if hashlib.sha256(old).hexdigest() != record.bitstream:
        message = "the bitstream is not the one that its record is of"
        raise fail("bad-bitstream", message, hint="`bitkiln build --renewable` makes both again")
    own = renewable_contents(design)
    if record.structure != structure_digest(design):
        raise fail("not-patchable", _difference(record, own, board), hint=_HINT)
    bitstream = bitstream_with_rams(old, renewed(rams_of_bitstream(old), record.places, own))
    return bitstream, _record(board, record.use_dsp, design, bitstream, record.places)


_HINT = (
    "give the options of the first build; keep shapes, formats, shifts and the number of thresholds, as `tune` does of "
    "quantised weights; or build anew"
)


def _difference(record: PatchRecord, own: tuple[Contents, ...], board: Board) -> str:
    if record.board != board.name:
        return f"the bitstream is for {record.board}, not for {board.name}"
    memories = _shapes(own)
    for before, now in zip(record.memories, memories, strict=False):
        if before != now:
            return (
                f"the bitstream has {before[2]} words of {before[1]} bits in {before[0]}, "
                f"the new weights need {now[2]} of {now[1]} in {now[0]}"
            )
    if len(record.memories) != len(memories):
        return f"the bitstream has {len(record.memories)} renewable memories, the new design {len(memories)}"
    return "the new design differs from that of the bitstream in more than the contents of memories"


def _record(board: Board, use_dsp: bool, design: Bundle, bitstream: bytes, places: tuple[Place, ...]) -> PatchRecord:
    memories, digest = _shapes(renewable_contents(design)), hashlib.sha256(bitstream).hexdigest()
    return PatchRecord(board.name, use_dsp, structure_digest(design), digest, memories, places)


def _shapes(memories: tuple[Contents, ...]) -> tuple[tuple[str, int, int], ...]:
    return tuple((memory.name, memory.width, len(memory.words)) for memory in memories)
