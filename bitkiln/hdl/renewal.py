"""The memories of a design whose contents may change without place and route, found in its RTLIL by their names.

What is left when they are blanked is the structure: designs of the same structure differ in nothing else. It is built
once, with random contents, by which every bit is then found in the bitstream (`bitkiln.hdl.patch`).
"""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Callable
from dataclasses import dataclass

from .board_top import TOP
from .bundle import Bundle
from .units import RENEWABLE_PREFIX

_MODULE = re.compile(r"^module \\(\S+)$", re.MULTILINE)
_CONTENTS = re.compile(
    rf'^    parameter \\MEMID "\\\\({RENEWABLE_PREFIX}\w+)"\n    parameter \\ABITS \d+\n    parameter \\WIDTH (\d+)\n'
    r"    parameter \\WORDS (\d+)\n    parameter \\PRIORITY \d+\n    connect \\ADDR \{  \}\n"
    r"    connect \\DATA \d+'([01]+)$",
    re.MULTILINE,
)
_SOURCE = f"{TOP}.il"


@dataclass(frozen=True)
class Contents:
    """What a memory begins with: `words` of `width` bits. `name` is its module's and its own."""

    name: str
    width: int
    words: tuple[int, ...]


def renewable_contents(design: Bundle) -> tuple[Contents, ...]:
    """Return the contents of all such memories of a design (`board_bundle`'s), in the order of the file."""
    text, found = design[_SOURCE].decode(), []
    modules = [(match.start(), match[1]) for match in _MODULE.finditer(text)]
    for match in _CONTENTS.finditer(text):
        module = max(item for item in modules if item[0] < match.start())[1]
        width, depth, bits = int(match[2]), int(match[3]), match[4]
        words = (int(bits[len(bits) - (n + 1) * width : len(bits) - n * width], 2) for n in range(depth))
        found.append(Contents(f"{module}.{match[1]}", width, tuple(words)))
    return tuple(found)


def structure_digest(design: Bundle) -> str:
    """Return the SHA-256 of a design without those contents."""
    return _with_bits(design, lambda count: "0" * count).digest()


def template(design: Bundle) -> Bundle:
    """Return the design with random contents, the same for all designs of the same structure."""
    rng = random.Random(hashlib.sha256(structure_digest(design).encode()).digest())
    return _with_bits(design, lambda count: f"{rng.getrandbits(count):0{count}b}")


def _with_bits(design: Bundle, bits: Callable[[int], str]) -> Bundle:
    def changed(match: re.Match[str]) -> str:
        return match[0][: match.start(4) - match.start()] + bits(len(match[4]))

    text = _CONTENTS.sub(changed, design[_SOURCE].decode())
    return Bundle.of(dict(design.files) | {_SOURCE: text.encode()})
