"""New weights in a finished bitstream for iCE40, without place and route.

The record beside the bitstream says where each bit of a memory went (`bitkiln.hdl.build_renewable` finds that out), and
what must be the same in a design whose contents take the place of those before.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import astuple, dataclass
from pathlib import Path

from bitkiln.boards import Board
from bitkiln.ir import fail

from .ice40_bitstream import bitstream_with_rams, rams_of_bitstream
from .ice40_contents import Place, renewed
from .renewal import Contents, Renewal

_FORMAT = 2


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

    @classmethod
    def of(cls, bitstream: bytes, held: Renewal, places: tuple[Place, ...], board: Board, use_dsp: bool) -> PatchRecord:
        """Return the record of a bitstream that has the contents of `held` at those places."""
        digest = hashlib.sha256(bitstream).hexdigest()
        return cls(board.name, use_dsp, held.structure, digest, _shapes(held.memories), places)

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


def patched(old: bytes, record: PatchRecord, new: Renewal, board: Board) -> tuple[bytes, PatchRecord]:
    """Return the bitstream `old` with the contents of `new`, and its record.

    Raises `not-patchable` if the two differ in more than contents, `bad-bitstream` if `old` is not what is recorded.
    """
    if hashlib.sha256(old).hexdigest() != record.bitstream:
        message = "the bitstream is not the one that its record is of"
        raise fail("bad-bitstream", message, hint="`bitkiln build --renewable` makes both again")
    if record.structure != new.structure:
        raise fail("not-patchable", _difference(record, new.memories, board), hint=_HINT)
    bitstream = bitstream_with_rams(old, renewed(rams_of_bitstream(old), record.places, new.memories))
    return bitstream, PatchRecord.of(bitstream, new, record.places, board, record.use_dsp)


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


def _shapes(memories: tuple[Contents, ...]) -> tuple[tuple[str, int, int], ...]:
    return tuple((memory.name, memory.width, len(memory.words)) for memory in memories)
