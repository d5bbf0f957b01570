from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from bitkiln.ir import Stage, Stream
from bitkiln.ir.units import (
    AddStreams,
    Beat,
    Fork,
    Pool,
    Reduction,
    Rescale,
    RescaleStream,
    Resize,
    TopKStream,
    Unit,
)

from .rtl_bench import check, single_unit_plan

IMAGES = 4
DEPTHS = st.integers(1, 8)
SEEDS = st.integers(0, 1 << 30)


def codes(seed: int, beat: Beat, count: int) -> np.ndarray:
    low = -(1 << (beat.bits - 1)) if beat.signed else 0
    return np.random.default_rng(seed).integers(low, low + (1 << beat.bits), (IMAGES, count, beat.lanes))


def scaled(x: np.ndarray, how: Rescale) -> np.ndarray:
    def one(code: int) -> int:
        total = code * how.multiplier + how.half
        return min(max(total >> how.shift if how.shift >= 0 else total << -how.shift, how.lo), how.hi)

    return np.array([one(int(code)) for code in x.reshape(-1)]).reshape(x.shape)


@st.composite
def rescales(draw: st.DrawFn) -> Rescale:
    shift, multiplier = draw(st.integers(-2, 9)), draw(st.sampled_from([1, 1, 7, 57]))
    if draw(st.booleans()):
        return Rescale(6, True, -32, 31, shift, multiplier)
    return Rescale(5, False, 0, draw(st.integers(1, 31)), shift, multiplier)


@settings(max_examples=20)
@given(st.integers(1, 5), st.integers(1, 4), st.integers(1, 3), st.booleans(), st.none() | rescales(), DEPTHS, SEEDS)
def test_pool(window: int, results: int, lanes: int, signed: bool, how: Rescale | None, depth: int, seed: int) -> None:
    reduction = Reduction.SUM if how else Reduction.MAX
    bits, is_signed = (how.bits, how.signed) if how else (5, signed)
    unit = Pool(reduction, window, results, lanes, 5, signed, bits, is_signed, how)
    x = codes(seed, unit.inputs[0], window * results)
    runs = x.reshape(IMAGES, results, window, lanes)
    expected = scaled(runs.sum(2), how) if how else runs.max(2)
    check(single_unit_plan(unit, window * results, results, 2, depth), x, expected)


@settings(max_examples=10)
@given(st.integers(1, 6), st.integers(1, 3), st.booleans(), rescales(), DEPTHS, SEEDS)
def test_rescale_stream(beats: int, lanes: int, signed: bool, how: Rescale, depth: int, seed: int) -> None:
    unit = RescaleStream(beats, lanes, 7, signed, how)
    x = codes(seed, unit.inputs[0], beats)
    check(single_unit_plan(unit, beats, beats, 2, depth), x, scaled(x, how))


@settings(max_examples=20)
@given(st.integers(1, 12), st.integers(1, 5), st.booleans(), DEPTHS, SEEDS)
def test_top_k_gives_the_first_of_equals_first(count: int, k: int, signed: bool, depth: int, seed: int) -> None:
    unit = TopKStream(count, 2, signed, 4, min(k, count))
    x = codes(seed, unit.inputs[0], count)
    largest = [sorted(range(count), key=lambda i: -image[i])[: unit.k] for image in x[:, :, 0].tolist()]
    check(single_unit_plan(unit, count, unit.k, 3, depth), x, np.array(largest))


@settings(max_examples=10)
@given(st.sampled_from([(1, 4), (4, 1), (2, 6), (6, 3), (5, 5)]), st.integers(1, 3), DEPTHS, SEEDS)
def test_resize(lanes: tuple[int, int], groups: int, depth: int, seed: int) -> None:
    elements = groups * lanes[0] * lanes[1]
    unit = Resize(elements, *lanes, 3, True)
    x = codes(seed, unit.inputs[0], elements // lanes[0])
    check(single_unit_plan(unit, elements // lanes[0], elements // lanes[1], 2, depth), x, x)


@settings(max_examples=10)
@given(st.tuples(st.integers(0, 3), st.integers(0, 3)), st.none() | rescales(), DEPTHS, DEPTHS, SEEDS)
def test_fork_and_add(shifts: tuple[int, int], how: Rescale | None, depth: int, skip: int, seed: int) -> None:
    """A stream is forked and added to itself: (x << a) + (x << b)."""

    beat, beats = Beat(2, 5, True), 6
    bits, signed = (how.bits, how.signed) if how else (10, True)
    fork, add = Fork(beats, beat, 2), AddStreams(beats, 2, beat, beat, shifts, bits, signed, how)
    units: tuple[tuple[str, Unit, tuple[str, ...], tuple[str, ...]], ...] = (
        ("fork", fork, ("x",), ("a", "b")),
        ("add", add, ("a", "b"), ("y",)),
    )
    plan = replace(
        single_unit_plan(fork, beats, beats, 2, 2),
        stages=tuple(Stage(name, unit, ins, outs, "y") for name, unit, ins, outs in units),
        streams=(
            Stream("x", beat, beats, 2),
            Stream("a", beat, beats, skip),
            Stream("b", beat, beats, 2),
            Stream("y", add.outputs[0], beats, depth),
        ),
    )
    x = codes(seed, beat, beats)
    total = (x << shifts[0]) + (x << shifts[1])
    check(plan, x, scaled(total, how) if how else total)
