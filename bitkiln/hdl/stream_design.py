"""An accelerator as the harnesses see it: RTLIL whose top level has one input and one output stream."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from amaranth.back import rtlil
from amaranth.lib import wiring

from bitkiln.ir import fail

from .trace import Beats

_STREAM_PORTS = {
    "i__payload": "input",
    "i__valid": "input",
    "i__ready": "output",
    "o__payload": "output",
    "o__valid": "output",
    "o__ready": "input",
}
_CLOCK_PORTS = {"clk": "input", "rst": "input"}
_TOP = re.compile(r"^module \\top$(.*?)^end$", re.MULTILINE | re.DOTALL)
_PORT = re.compile(r"^\s*wire\b(.*)\s(input|output) \d+(?: signed)?\s+\\(\S+)\s*$", re.MULTILINE)
_WIDTH = re.compile(r"\bwidth (\d+)")


@dataclass(frozen=True)
class StreamDesign:
    """RTLIL with a module `top`, its payload widths, and whether it has a clock and a reset.

    A design without registers has neither `clk` nor `rst`.
    """

    rtlil: str
    input_bits: int
    output_bits: int
    has_clock: bool
    has_reset: bool

    @classmethod
    def of(cls, source: wiring.Component | str) -> StreamDesign:
        """Return the design of a component with the streams `i` and `o`, or of such a component's RTLIL.

        Raises `wrong-ports` if it has other ports than the two streams, `clk` and `rst`.
        """
        text = source if isinstance(source, str) else rtlil.convert(source, name="top", emit_src=False)
        widths, directions = _ports(text)
        expected = _STREAM_PORTS | {name: way for name, way in _CLOCK_PORTS.items() if name in directions}
        if directions != expected:
            came = ", ".join(f"{way} {name}" for name, way in sorted(directions.items())) or "no ports"
            message = f"the module `top` must have the streams i and o, clk and rst, and nothing else, not {came}"
            raise fail("wrong-ports", message, hint="give a component with i: In(Signature), o: Out(Signature)")
        return cls(text, widths["i__payload"], widths["o__payload"], "clk" in widths, "rst" in widths)

    @property
    def ports(self) -> tuple[str, ...]:
        """The names of all ports of `top`."""
        clock = ("clk",) if self.has_clock else ()
        reset = ("rst",) if self.has_reset else ()
        return (*_STREAM_PORTS, *clock, *reset)

    @property
    def input_bytes(self) -> int:
        return (self.input_bits + 7) // 8

    @property
    def output_bytes(self) -> int:
        return (self.output_bits + 7) // 8

    def checked(self, beats: Beats) -> Beats:
        """Return `beats` as one block of memory. Raises `wrong-beats` if shape, type or a payload does not fit."""
        expected = f"beats must be uint8 of shape (n, {self.input_bytes})"
        if beats.dtype != np.uint8 or beats.ndim != 2 or beats.shape[1] != self.input_bytes:
            raise fail("wrong-beats", f"{expected}, not {beats.dtype} of shape {beats.shape}")
        last_byte_range = 1 << (self.input_bits - 1) % 8 + 1
        too_large = np.flatnonzero(beats[:, -1] >= last_byte_range)
        if too_large.size:
            raise fail("wrong-beats", f"beat {too_large[0]} has more than {self.input_bits} bits")
        return np.ascontiguousarray(beats)


def _ports(text: str) -> tuple[dict[str, int], dict[str, str]]:
    """Return the width and the direction of each port of the module `top`."""
    top = _TOP.search(text)
    found = _PORT.findall(top.group(1)) if top else ()
    widths = {}
    for options, _, name in found:
        width = _WIDTH.search(options)
        widths[name] = int(width.group(1)) if width else 1
    return widths, {name: way for _, way, name in found}
