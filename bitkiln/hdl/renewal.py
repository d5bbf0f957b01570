"""The memories of a design whose contents may change without place and route, found in its RTLIL by their names.

What is left when they are blanked is the structure: designs of the same structure differ in nothing else. It is built
once, with random contents, by which every bit is then found in the bitstream (`bitkiln.hdl.patch`).
"""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Callable
from dataclasses import dataclass, replace

from bitkiln.boards import Board

from .bundle import TOP, Bundle
from .protocol import DIGEST_BYTES, IDENTITY_PLACES, Identity
from .units import RENEWABLE_PREFIX

_MODULE = re.compile(r"^module \\(\S+)$", re.MULTILINE)
_CONTENTS = re.compile(
    rf'^    parameter \\MEMID "\\\\({RENEWABLE_PREFIX}\w+)"\n    parameter \\ABITS \d+\n    parameter \\WIDTH (\d+)\n'
    r"    parameter \\WORDS (\d+)\n    parameter \\PRIORITY \d+\n    connect \\ADDR \{  \}\n"
    r"    connect \\DATA \d+'([01]+)$",
    re.MULTILINE,
)
_SOURCE = f"{TOP}.il"
_WHERE = f"{TOP}.hosted.accelerator"


@dataclass(frozen=True)
class Contents:
    """What a memory begins with: `words` of `width` bits. `name` is its module's and its own."""

    name: str
    width: int
    words: tuple[int, ...]


@dataclass(frozen=True)
class Renewal:
    """What of a plan's design may be replaced: `memories`; `structure` is the digest of all the rest."""

    structure: str
    memories: tuple[Contents, ...]

    @classmethod
    def of(cls, accelerator: str, identity: Identity, board: Board) -> Renewal:
        """`accelerator` is its RTLIL alone, which the host link around it does not change."""
        named = [replace(one, name=_WHERE + one.name.removeprefix(TOP)) for one in renewable_contents(accelerator)]
        rest = (blanked(accelerator), replace(identity, design_digest=bytes(DIGEST_BYTES)).encode().hex(), board.name)
        if named:
            said = identity.encode().ljust(IDENTITY_PLACES, b"\0")
            named.append(Contents(f"{TOP}.hosted.link.{RENEWABLE_PREFIX}identity", 8, tuple(said)))
        return cls(hashlib.sha256("|".join(rest).encode()).hexdigest(), tuple(named))


def renewable_contents(rtlil: str) -> tuple[Contents, ...]:
    """Return the contents of all such memories, in the order of the text."""
    found = []
    modules = [(match.start(), match[1]) for match in _MODULE.finditer(rtlil)]
    for match in _CONTENTS.finditer(rtlil):
        module = max(item for item in modules if item[0] < match.start())[1]
        width, depth, bits = int(match[2]), int(match[3]), match[4]
        words = (int(bits[len(bits) - (n + 1) * width : len(bits) - n * width], 2) for n in range(depth))
        found.append(Contents(f"{module}.{match[1]}", width, tuple(words)))
    return tuple(found)


def contents_of(design: Bundle) -> dict[str, Contents]:
    """Return those of a whole design (`board_bundle`'s) by name."""
    return {one.name: one for one in renewable_contents(design[_SOURCE].decode())}


def blanked(rtlil: str) -> str:
    """Return the text without those contents."""
    return _with_bits(rtlil, lambda count: "0" * count)


def template(design: Bundle) -> Bundle:
    """Return the design with random contents, the same for all designs of the same structure."""
    text = blanked(design[_SOURCE].decode())
    rng = random.Random(_with_source(design, text).digest())
    return _with_source(design, _with_bits(text, lambda count: f"{rng.getrandbits(count):0{count}b}"))


def _with_bits(rtlil: str, bits: Callable[[int], str]) -> str:
    def changed(match: re.Match[str]) -> str:
        return match[0][: match.start(4) - match.start()] + bits(len(match[4]))

    return _CONTENTS.sub(changed, rtlil)


def _with_source(design: Bundle, text: str) -> Bundle:
    return Bundle.of(dict(design.files) | {_SOURCE: text.encode()})
