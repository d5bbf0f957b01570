"""One kernel as text, the tables that it reads, and how C++ writes the types and numbers of a Plan."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bitkiln.ir.units import Beat, Rescale

WORD_BITS = 64
LINE = 112


@dataclass(frozen=True)
class Ports:
    """The kernel's function name and the type names of the beats at its ports."""

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Table:
    """A constant of a kernel, `codes` [entries, codes of an entry] of `bits` bits each.

    An entry begins in a word of its own, the first code in the lowest bits; no code lies in two words.
    """

    name: str
    bits: int
    codes: NDArray[np.int64]

    @property
    def words(self) -> NDArray[np.uint64]:
        """[entries, words of an entry]."""
        entries, count = self.codes.shape
        per_word = WORD_BITS // self.bits
        words = -(-count // per_word)
        fields = np.zeros((entries, words * per_word), np.uint64)
        fields[:, :count] = self.codes.astype(np.uint64) & np.uint64((1 << self.bits) - 1)
        shifts = (np.arange(per_word) * self.bits).astype(np.uint64)
        packed: NDArray[np.uint64] = np.bitwise_or.reduce(fields.reshape(entries, words, per_word) << shifts, axis=2)
        return packed

    @property
    def text(self) -> str:
        """The C++ definition."""
        words, (entries, codes) = self.words, self.codes.shape
        rows = [f"{{{', '.join(map(hex, row))}}}" for row in words.tolist()]
        a_line = max(1, LINE // (len(rows[0]) + 2))
        lines = "".join(f"    {', '.join(rows[n : n + a_line])},\n" for n in range(0, entries, a_line))
        word = _built_in(words) if words.shape[1] == 1 else f"std::uint{WORD_BITS}_t"
        return (
            f"// {count(entries, 'entry', 'entries')} of {count(codes, 'code')} of {count(self.bits, 'bit')}\n"
            f"static const {word} {self.name}[{words.shape[0]}][{words.shape[1]}] = {{\n{lines}}};\n"
        )


@dataclass(frozen=True, eq=False)
class Values:
    """A constant that is read at one place at a time: `values` [memories, entries], or [entries] of a single memory."""

    name: str
    values: NDArray[np.int64]

    @property
    def text(self) -> str:
        """The C++ definition, in the smallest built-in integer that holds all values."""
        size = "".join(f"[{length}]" for length in self.values.shape)
        rows = [_wrapped(row) for row in self.values.reshape(-1, self.values.shape[-1]).tolist()]
        body = rows[0] if self.values.ndim == 1 else "".join(f"    {{\n{row}    }},\n" for row in rows)
        return f"static const {_built_in(self.values)} {self.name}{size} = {{\n{body}}};\n"


Constant = Table | Values


@dataclass(frozen=True, eq=False)
class Kernel:
    """`text` defines the function; `summary` says in a few lines what it computes."""

    summary: tuple[str, ...]
    text: str
    constants: tuple[Constant, ...] = ()


def count(number: int, noun: str, plural: str = "") -> str:
    """`1 row`, `2 rows`."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def _wrapped(numbers: list[int]) -> str:
    """The numbers in lines of so many that most of them fit."""
    a_line = max(1, LINE // (2 + max(len(str(number)) for number in numbers)))
    return "".join(f"    {', '.join(map(str, numbers[n : n + a_line]))},\n" for n in range(0, len(numbers), a_line))


def _built_in(values: NDArray[np.int64] | NDArray[np.uint64]) -> str:
    lo, hi = int(values.min()), int(values.max())
    for bits in (8, 16, 32, 64):
        if lo >= 0 and hi < 1 << bits:
            return f"std::uint{bits}_t"
        if -(1 << (bits - 1)) <= lo and hi < 1 << (bits - 1):
            return f"std::int{bits}_t"
    raise AssertionError((lo, hi))


def number(bits: int, signed: bool) -> str:
    """The type of an integer."""
    return f"ap_int<{bits}>" if signed else f"ap_uint<{bits}>"


def element(beat: Beat) -> str:
    """The type of a beat's elements; a bipolar one is 0 for -1 and 1 for 1."""
    return number(beat.bits, beat.signed)


def beat_type(beat: Beat) -> str:
    """The type of a beat."""
    return f"beat<{element(beat)}, {beat.lanes}>"


def literal(value: int) -> str:
    """The number in C++."""
    return str(value) if -(1 << 31) < value < 1 << 31 else f"{value}LL"


def signed_bits(lo: int, hi: int) -> int:
    """Bits of a signed integer with this range, 64 at most: the golden model refuses values of more than 53 bits."""
    return min(WORD_BITS, 1 + max((-lo - 1).bit_length() if lo < 0 else 0, hi.bit_length() if hi > 0 else 0))


def rescaled(value: str, bits: int, signed: bool, how: Rescale) -> str:
    """An expression: `value`, of a type with so many bits, through `how`."""
    ends = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if signed else (0, (1 << bits) - 1)
    left = max(0, -how.shift)
    totals = [(end * how.multiplier + how.half) << left for end in ends]
    wide = signed_bits(min(totals), max(totals))
    text = f"ap_int<{wide}>({value})"
    if how.multiplier != 1:
        text = f"{text} * {literal(how.multiplier)}"
    if how.half:
        text = f"{text} + {literal(how.half)}"
    if text.endswith(")"):
        total = text
    else:
        total = f"ap_int<{wide}>({text})"
    shift = f" >> {how.shift}" if how.shift > 0 else f" << {left}" if left else ""
    return f"clamped<{number(how.bits, how.signed)}>({total}{shift}, {literal(how.lo)}, {literal(how.hi)})"
