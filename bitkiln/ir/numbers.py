"""Number formats: what one element of a tensor can be, how many bits it takes and which codes it may have.

Quantisation is part of a value's type, so a pass that forgets it cannot be written. The text form (`i8.f6`) is the one
used by printed graphs, project files and reports.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from .diagnostics import ToolError, fail

MAX_INT_BITS = 63


@dataclass(frozen=True)
class Float:
    """IEEE 754 binary number of 16, 32 or 64 bits."""

    bits: int = 32

    def __post_init__(self) -> None:
        if self.bits not in (16, 32, 64):
            raise fail("number-range", f"A float has 16, 32 or 64 bits, not {self.bits}")

    def __str__(self) -> str:
        return f"f{self.bits}"


@dataclass(frozen=True)
class Int:
    """Dynamic fixed point: value = code * 2**-frac, with `bits`-bit two's complement (or unsigned) codes.

    `frac` is one integer for the whole tensor, or one a channel along `axis`. It may be negative or exceed `bits`.
    """

    bits: int
    signed: bool = True
    frac: int | tuple[int, ...] = 0
    axis: int | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.bits <= MAX_INT_BITS:
            raise fail("number-range", f"Bits must be between 1 and {MAX_INT_BITS}, not {self.bits}")
        if isinstance(self.frac, tuple) != (self.axis is not None):
            raise fail("number-range", "An axis goes with one frac a channel, and no axis with a single frac")

    @property
    def lo(self) -> int:
        """Smallest code."""
        return -(1 << (self.bits - 1)) if self.signed else 0

    @property
    def hi(self) -> int:
        """Largest code."""
        return (1 << (self.bits - (1 if self.signed else 0))) - 1

    @property
    def fracs(self) -> tuple[int, ...]:
        """The points as a tuple: one entry, or one a channel."""
        return self.frac if isinstance(self.frac, tuple) else (self.frac,)

    @classmethod
    def holding(
        cls,
        lo: int,
        hi: int,
        frac: int | tuple[int, ...] = 0,
        axis: int | None = None,
        signed: bool | None = None,
    ) -> Int:
        """Return the narrowest Int that holds every code from `lo` to `hi`; signed only if `lo` < 0, unless asked."""
        is_signed = lo < 0 if signed is None else signed
        if is_signed:
            bits = 1 + max((-lo - 1).bit_length() if lo < 0 else 0, max(hi, 0).bit_length())
        else:
            bits = max(1, hi.bit_length())
        if bits > MAX_INT_BITS:
            raise fail(
                "accumulator-too-wide",
                f"Codes from {lo} to {hi} need {bits} bits; at most {MAX_INT_BITS} are possible",
            )
        return cls(bits, is_signed, frac, axis)

    def __str__(self) -> str:
        base = f"{'i' if self.signed else 'u'}{self.bits}"
        if isinstance(self.frac, tuple):
            return f"{base}.f[{','.join(map(str, self.frac))}]@{self.axis}"
        return f"{base}.f{self.frac}"


@dataclass(frozen=True)
class Bipolar:
    """One bit that means -1 (code 0) or +1 (code 1)."""

    @property
    def bits(self) -> int:
        return 1

    def __str__(self) -> str:
        return "bipolar"


@dataclass(frozen=True)
class Ternary:
    """-1, 0 or +1, stored in two bits."""

    @property
    def bits(self) -> int:
        return 2

    def __str__(self) -> str:
        return "ternary"


@dataclass(frozen=True)
class Codebook:
    """Shared weights: each element is an index of `index_bits` bits into a table of `entries`-typed centroids."""

    index_bits: int
    entries: Float | Int

    def __post_init__(self) -> None:
        if not 1 <= self.index_bits <= 16:
            raise fail("number-range", f"A codebook index has 1 to 16 bits, not {self.index_bits}")

    @property
    def bits(self) -> int:
        return self.index_bits

    def __str__(self) -> str:
        return f"codebook{self.index_bits}({self.entries})"


Number = Float | Int | Bipolar | Ternary | Codebook

_FLOAT = re.compile(r"f(\d{1,3})")
_INT = re.compile(r"([iu])(\d{1,3})\.f(?:(-?\d{1,5})|\[(-?\d{1,5}(?:,-?\d{1,5})*)\]@(\d{1,3}))")
_CODEBOOK = re.compile(r"codebook(\d{1,3})\((.*)\)")


def parse_number(text: str) -> Number:
    """Read a number format from its text form; raises ToolError `number-syntax`."""
    if text == "bipolar":
        return Bipolar()
    if text == "ternary":
        return Ternary()
    if match := _FLOAT.fullmatch(text):
        return Float(int(match[1]))
    if match := _INT.fullmatch(text):
        if match[3] is not None:
            return Int(int(match[2]), match[1] == "i", int(match[3]))
        return Int(int(match[2]), match[1] == "i", tuple(int(frac) for frac in match[4].split(",")), int(match[5]))
    if match := _CODEBOOK.fullmatch(text):
        entries = parse_number(match[2])
        if isinstance(entries, Float | Int):
            return Codebook(int(match[1]), entries)
    raise _syntax(text)


def _syntax(text: str) -> ToolError:
    return fail(
        "number-syntax",
        f"{text[:80]!r} is no number format",
        hint="write f32, i8.f6 (signed, 8 bits, 6 after the point), u4.f0, i8.f[6,7]@0, bipolar, ternary or codebook4(f32)",
    )
