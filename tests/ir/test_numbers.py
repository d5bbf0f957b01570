from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitkiln.ir import Bipolar, Codebook, Float, Int, Number, Ternary, ToolError, parse_number
from bitkiln.ir.numbers import MAX_FRAC, MAX_INT_BITS, code_limits

FRACS = st.integers(-MAX_FRAC, MAX_FRAC)
INTS = st.builds(Int, st.integers(1, MAX_INT_BITS), st.booleans(), FRACS) | st.builds(
    Int,
    st.integers(1, MAX_INT_BITS),
    st.booleans(),
    st.lists(FRACS, min_size=1, max_size=4).map(tuple),
    st.integers(0, 7),
)
FLOATS = st.sampled_from([Float(16), Float(32), Float(64)])
CODEBOOKS = st.builds(Codebook, st.integers(1, 16), INTS | FLOATS)
NUMBERS = INTS | FLOATS | CODEBOOKS | st.just(Bipolar()) | st.just(Ternary())


@given(NUMBERS)
def test_text_round_trip(number: Number) -> None:
    assert parse_number(str(number)) == number


@pytest.mark.parametrize(
    ("number", "text", "bits"),
    [
        (Float(), "f32", 32),
        (Float(16), "f16", 16),
        (Int(8, True, 6), "i8.f6", 8),
        (Int(4, False), "u4.f0", 4),
        (Int(8, True, -3), "i8.f-3", 8),
        (Int(8, True, (6, 7), 0), "i8.f[6,7]@0", 8),
        (Bipolar(), "bipolar", 1),
        (Ternary(), "ternary", 2),
        (Codebook(4, Float()), "codebook4(f32)", 4),
        (Codebook(3, Int(8, True, (1, 2), 1)), "codebook3(i8.f[1,2]@1)", 3),
    ],
)
def test_text_and_bits(number: Number, text: str, bits: int) -> None:
    assert str(number) == text
    assert number.bits == bits


@pytest.mark.parametrize(
    ("number", "limits"),
    [
        (Int(1, True), (-1, 0)),
        (Int(1, False), (0, 1)),
        (Int(8, True), (-128, 127)),
        (Int(8, False), (0, 255)),
        (Int(63, True), (-(2**62), 2**62 - 1)),
        (Int(63, False), (0, 2**63 - 1)),
        (Bipolar(), (0, 1)),
        (Ternary(), (-1, 1)),
        (Codebook(3, Float()), (0, 7)),
    ],
)
def test_limits_of_codes(number: Int | Bipolar | Ternary | Codebook, limits: tuple[int, int]) -> None:
    assert code_limits(number) == limits


@given(st.integers(-(2**60), 2**60), st.integers(0, 2**60), st.booleans())
def test_holding_is_the_narrowest(lo: int, extent: int, signed: bool) -> None:
    hi = lo + extent
    number = Int.holding(lo, hi, 3, signed=signed or lo < 0)
    assert number.lo <= lo <= hi <= number.hi
    assert number.frac == 3
    if number.bits > 1:
        narrower = Int(number.bits - 1, number.signed)
        assert narrower.lo > lo or narrower.hi < hi


@pytest.mark.parametrize(
    ("lo", "hi", "text"),
    [
        (0, 0, "u1.f0"),
        (0, 255, "u8.f0"),
        (0, 256, "u9.f0"),
        (-128, 127, "i8.f0"),
        (-129, 0, "i9.f0"),
        (-1, 128, "i9.f0"),
    ],
)
def test_holding(lo: int, hi: int, text: str) -> None:
    assert str(Int.holding(lo, hi)) == text


def test_holding_keeps_points_and_sign() -> None:
    assert str(Int.holding(0, 3, (1, 2), 1, signed=True)) == "i3.f[1,2]@1"


def test_holding_nothing_is_our_mistake() -> None:
    with pytest.raises(AssertionError, match="empty range of codes 2 to 1"):
        Int.holding(2, 1)
    with pytest.raises(AssertionError, match="an unsigned format cannot hold -1"):
        Int.holding(-1, 1, signed=False)


def test_too_wide() -> None:
    message = "error[accumulator-too-wide]: Codes from -9223372036854775808 to 0 need 64 bits; at most 63 are possible"
    with pytest.raises(ToolError, match=f"^{re.escape(message)}$"):
        Int.holding(-(2**63), 0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("i0.f0", "Bits must be between 1 and 63, not 0"),
        ("u64.f0", "Bits must be between 1 and 63, not 64"),
        ("i8.f256", "frac must be between -255 and 255, not 256"),
        ("i8.f[0,-256]@1", "frac must be between -255 and 255, not -256"),
        ("f8", "A float has 16, 32 or 64 bits, not 8"),
        ("codebook0(f32)", "A codebook index has 1 to 16 bits, not 0"),
        ("codebook17(f32)", "A codebook index has 1 to 16 bits, not 17"),
    ],
)
def test_out_of_range(text: str, message: str) -> None:
    with pytest.raises(ToolError, match=f"^{re.escape(f'error[number-range]: {message}')}$"):
        parse_number(text)


def test_axis_goes_with_fracs() -> None:
    with pytest.raises(ToolError, match="An axis goes with one frac a channel, and no axis with a single frac"):
        Int(8, True, (1, 2))
    with pytest.raises(ToolError, match="An axis goes with one frac a channel, and no axis with a single frac"):
        Int(8, True, 1, 0)
    with pytest.raises(ToolError, match=r"An axis >= 0 and at least one frac are expected, not i8\.f\[\]@0"):
        Int(8, True, (), 0)
    with pytest.raises(ToolError, match=r"An axis >= 0 and at least one frac are expected, not i8\.f\[1\]@-1"):
        Int(8, True, (1,), -1)


SYNTAX_HINT = (
    "write f32, i8.f6 (signed, 8 bits, 6 after the point), u4.f0, i8.f[6,7]@0, bipolar, ternary or codebook4(f32)"
)


@pytest.mark.parametrize(
    "text",
    ["", "i8", "i8.6", "I8.f6", "i8.f6 ", "i8.f[]@0", "i8.f[1,2]", "i8.f1@0", "i٨.f6", "i8.f1000000", "f", "f32.f0",
     "codebook4", "codebook4(bipolar)", "codebook4(codebook4(f32))", "codebook4(" * 100_000 + "f32" + ")" * 100_000],
    ids=lambda text: repr(text[:30]),
)  # fmt: skip
def test_syntax(text: str) -> None:
    with pytest.raises(ToolError) as caught:
        parse_number(text)
    (finding,) = caught.value.diagnostics
    assert finding.message == f"{text[:80]!r} is no number format"
    assert (finding.slug, finding.hint) == ("number-syntax", SYNTAX_HINT)
