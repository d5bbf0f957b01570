"""Number formats: what one element of a tensor can be, how many bits it takes and which codes it may have.

Quantisation is part of a value's type, so a pass that forgets it cannot be written. The text form (`i8.f6`)
is the one used by printed graphs, project files and reports.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from .diagnostics import ToolError, fail

MAX_INT_BITS = 63
# 2**-frac and 2**frac stay far inside float64, in which points are applied.
MAX_FRAC = 255


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

    `frac` is one integer for the whole tensor, or one a channel along `axis`. It may be negative or exceed
    `bits`, up to MAX_FRAC either way. A product has the sum of its operands' fracs, which must fit as well.
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
        if not self.fracs or (self.axis is not None and self.axis < 0):
            raise fail("number-range", f"An axis >= 0 and at least one frac are expected, not {self}")
        for frac in self.fracs:
            if abs(frac) > MAX_FRAC:
                raise fail("number-range", f"frac must be between {-MAX_FRAC} and {MAX_FRAC}, not {frac}")

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
        """Return the narrowest Int that holds every code from `lo` to `hi`; signed if `lo` < 0 or asked.

        Raises ToolError `accumulator-too-wide` above MAX_INT_BITS.
        """
        assert lo <= hi, f"empty range of codes {lo} to {hi}"
        is_signed = lo < 0 if signed is None else signed
        assert is_signed or lo >= 0, f"an unsigned format cannot hold {lo}"
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
    """Shared weights: each element is an index of `index_bits` bits into a table of `entries` centroids."""

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


def code_limits(number: Int | Bipolar | Ternary | Codebook) -> tuple[int, int]:
    """Return the smallest and largest code."""
    match number:
        case Int():
            return number.lo, number.hi
        case Bipolar():
            return 0, 1
        case Ternary():
            return -1, 1
        case Codebook():
            return 0, (1 << number.index_bits) - 1


_FLOAT = re.compile(r"f([0-9]{1,3})")
_FRAC = "-?[0-9]{1,5}"
_INT = re.compile(rf"([iu])([0-9]{{1,3}})\.f(?:({_FRAC})|\[({_FRAC}(?:,{_FRAC})*)\]@([0-9]{{1,3}}))")
_CODEBOOK = re.compile(r"codebook([0-9]{1,3})\((.*)\)")


def parse_number(text: str) -> Number:
    """Read a number format from its text form; raises ToolError `number-syntax`."""
    if text == "bipolar":
        return Bipolar()
    if text == "ternary":
        return Ternary()
    if match := _CODEBOOK.fullmatch(text):
        entries = _parse_plain(match[2])
        if entries is not None:
            return Codebook(int(match[1]), entries)
    number = _parse_plain(text)
    if number is None:
        raise _syntax(text)
    return number


def _parse_plain(text: str) -> Float | Int | None:
    """Read the formats that may stand alone or in a codebook."""
    if match := _FLOAT.fullmatch(text):
        return Float(int(match[1]))
    if match := _INT.fullmatch(text):
        bits, signed = int(match[2]), match[1] == "i"
        if match[3] is not None:
            return Int(bits, signed, int(match[3]))
        return Int(bits, signed, tuple(int(frac) for frac in match[4].split(",")), int(match[5]))
    return None


def _syntax(text: str) -> ToolError:
    return fail(
        "number-syntax",
        f"{text[:80]!r} is no number format",
        hint="write f32, i8.f6 (signed, 8 bits, 6 after the point), u4.f0, i8.f[6,7]@0, bipolar, ternary "
        "or codebook4(f32)",
    )
