from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from enum import Enum
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitkiln.ir import Float, Int, Number, ToolError, from_plain, to_plain
from bitkiln.ir.ops import Clip, Conv2d, MaxPool2d, Op, Quantise, Requantise

EIGHT = Int(8)


class Colour(Enum):
    RED = "red"
    GREEN = "green"


@dataclass(frozen=True)
class Inner:
    size: int
    ratio: float = 0.5

    def __post_init__(self) -> None:
        if self.size > 9:
            Int(self.size * 10)


@dataclass(frozen=True)
class Outer:
    name: str
    inner: Inner
    many: tuple[Inner, ...] = ()
    pair: tuple[int, float] = (1, 2.0)
    colour: Colour = Colour.RED
    mode: Literal["fast", "small", 3] = "fast"
    maybe: int | None = None
    either: int | tuple[int, ...] = 0
    flag: bool = False
    number: Int = EIGHT
    extra: tuple[str, ...] = field(default_factory=tuple)


INNERS = st.builds(Inner, st.integers(-99, 6), st.floats(allow_nan=False))
OUTERS = st.builds(
    Outer,
    st.text(max_size=5),
    INNERS,
    st.lists(INNERS, max_size=3).map(tuple),
    st.tuples(st.integers(), st.floats(allow_nan=False)),
    st.sampled_from(Colour),
    st.sampled_from(["fast", "small", 3]),
    st.none() | st.integers(),
    st.integers() | st.lists(st.integers()).map(tuple),
    st.booleans(),
    st.builds(Int, st.integers(1, 63), st.booleans(), st.integers(-9, 9)),
    st.lists(st.text(max_size=3), max_size=2).map(tuple),
)


@given(OUTERS)
def test_round_trip_through_json(value: Outer) -> None:
    assert from_plain(Outer, json.loads(json.dumps(to_plain(value))), "here") == value


def test_defaults_are_left_out() -> None:
    assert to_plain(Outer("a", Inner(3))) == {"name": "a", "inner": {"size": 3}}
    assert to_plain(Conv2d()) == {}


@pytest.mark.parametrize(
    "op",
    [
        Conv2d((1, 2), ((1, 0), (2, 3)), (2, 1), 4),
        MaxPool2d((2, 3), (1, 2), (1, 0), (1, 2), True),
        Clip(0.0, 6.0),
        Quantise(Int(4, False, 2)),
        Requantise(Int(4, True, -2), (3, 4), 5, 2, 6),
    ],
)
def test_ops_round_trip(op: Op) -> None:
    assert from_plain(type(op), json.loads(json.dumps(to_plain(op))), "here") == op


GOOD: dict[str, object] = {"name": "a", "inner": {"size": 3}}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": 3}, "error[bad-value]: top.name: expected text, not 3"),
        ({"inner": 3}, "error[bad-value]: top.inner: expected table, not 3"),
        ({"inner": {}}, "error[missing-key]: top.inner: the key 'size' is missing"),
        ({"inner": {"size": "3"}}, "error[bad-value]: top.inner.size: expected whole number, not '3'"),
        ({"inner": {"size": 3.0}}, "error[bad-value]: top.inner.size: expected whole number, not 3.0"),
        ({"inner": {"size": True}}, "error[bad-value]: top.inner.size: expected whole number, not true"),
        ({"inner": {"size": 10}}, "error[number-range]: top.inner: Bits must be between 1 and 63, not 100"),
        ({"inner": {"size": 3, "ratio": "x"}}, "error[bad-value]: top.inner.ratio: expected number, not 'x'"),
        ({"inner": {"size": 3, "ratio": False}}, "error[bad-value]: top.inner.ratio: expected number, not false"),
        (
            {"inner": {"size": 3, "ratio": 10**400}},
            "error[bad-value]: top.inner.ratio: expected number that fits in 64-bit floating point, not 1" + "0" * 79,
        ),
        (
            {"inner": {"sise": 3}},
            "error[unknown-key]: top.inner: unknown key 'sise'\n  help: did you mean size? Known: ratio, size",
        ),
        ({"many": 3}, "error[bad-value]: top.many: expected list, not 3"),
        ({"many": [{"size": 1}, {}]}, "error[missing-key]: top.many[1]: the key 'size' is missing"),
        ({"pair": [1]}, "error[bad-value]: top.pair: expected list of 2, not a list of 1"),
        ({"pair": [1, []]}, "error[bad-value]: top.pair[1]: expected number, not a list of 0"),
        (
            {"colour": "reed"},
            "error[bad-value]: top.colour: 'reed' is not one of the known values\n"
            "  help: did you mean red or green? Known: green, red",
        ),
        (
            {"mode": {"fast": 1}},
            "error[bad-value]: top.mode: a table is not one of the known values\n  help: known: 3, fast, small",
        ),
        (
            {"mode": True},
            "error[bad-value]: top.mode: true is not one of the known values\n  help: known: 3, fast, small",
        ),
        ({"maybe": "x"}, "error[bad-value]: top.maybe: expected whole number, not 'x'"),
        ({"either": "x"}, "error[bad-value]: top.either: expected whole number, not 'x'"),
        ({"flag": 1}, "error[bad-value]: top.flag: expected true or false, not 1"),
        ({"flag": None}, "error[bad-value]: top.flag: expected true or false, not null"),
        ({"number": "f32"}, "error[bad-value]: top.number: expected Int number format, not 'f32'"),
        ({"number": 8}, "error[bad-value]: top.number: expected Int number format, not 8"),
        ({"number": "i99.f0"}, "error[number-range]: top.number: Bits must be between 1 and 63, not 99"),
        ({"flag": "x" * 200}, f"error[bad-value]: top.flag: expected true or false, not 'x{'x' * 78}"),
    ],
)  # fmt: skip
def test_wrong(change: dict[str, object], message: str) -> None:
    with pytest.raises(ToolError, match=f"^{re.escape(message)}$"):
        from_plain(Outer, GOOD | change, "top")


def test_deep_nesting_is_an_ordinary_mistake() -> None:
    deep: object = 1
    for _ in range(5000):
        deep = [deep]
    with pytest.raises(ToolError, match=r"^error\[bad-value\]: top\.name: expected text, not a list of 1$"):
        from_plain(Outer, GOOD | {"name": deep}, "top")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.sampled_from(["i8.f0", "red"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*GOOD, "size", "pair"]), inner),
)


@given(st.dictionaries(st.sampled_from(list(Outer.__dataclass_fields__)), JSON))
def test_anything_is_read_or_a_tool_error(changes: dict[str, object]) -> None:
    slugs: set[str] = set()
    try:
        assert isinstance(from_plain(Outer, GOOD | changes, "top").inner, Inner)
    except ToolError as error:
        slugs = {finding.slug for finding in error.diagnostics}
    assert slugs <= {"bad-value", "missing-key", "unknown-key", "number-range", "number-syntax"}


def test_numbers_are_text() -> None:
    numbers: tuple[Number, ...] = (Float(), Int(8, True, 3))
    assert to_plain(numbers) == ["f32", "i8.f3"]
