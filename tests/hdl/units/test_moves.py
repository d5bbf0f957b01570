"""Units that reorder, join, look up and multiply."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from bitkiln.ir import Plan, Stage, Stream
from bitkiln.ir.units import Beat, ConcatStreams, Fork, Gather, LookupStream, MultiplyStreams, Rescale, Unit

from .rtl_bench import check, single_unit_plan

IMAGES = 4
DEPTHS = st.integers(1, 8)
SEEDS = st.integers(0, 1 << 30)
BEAT = Beat(2, 4, True)


def random_codes(seed: int, beat: Beat, beats: int) -> np.ndarray:
    low, high = beat.code_range
    return np.random.default_rng(seed).integers(low, high + 1, (IMAGES, beats, beat.lanes))


@settings(max_examples=25)
@given(st.integers(1, 3), st.integers(1, 6), st.integers(1, 7), st.booleans(), DEPTHS, DEPTHS, SEEDS)
def test_gather(blocks: int, size: int, given_: int, zeros: bool, source: int, sink: int, seed: int) -> None:
    picks = np.random.default_rng(seed).integers(-1 if zeros else 0, size, given_)
    unit = Gather(BEAT, blocks, size, picks)
    x = random_codes(seed, BEAT, blocks * size)
    expected = [
        x[image, block * size + pick] if pick >= 0 else np.zeros(2, np.int64)
        for image in range(IMAGES)
        for block in range(blocks)
        for pick in picks
    ]
    check(single_unit_plan(unit, blocks * size, blocks * given_, source, sink), x, np.array(expected))


def forked(unit: Unit, beats_in: int, beats_out: int, skips: tuple[int, ...]) -> Plan:
    """A stream that goes to every input of `unit`, through queues of these depths."""
    names = tuple(f"way{n}" for n in range(len(skips)))
    stages = (
        Stage("fork", Fork(beats_in, unit.inputs[0], len(skips)), ("x",), names, "y"),
        Stage("unit", unit, names, ("y",), "y"),
    )
    ways = (Stream(name, unit.inputs[0], beats_in, depth) for name, depth in zip(names, skips, strict=True))
    streams = (Stream("x", unit.inputs[0], beats_in, 2), *ways, Stream("y", unit.outputs[0], beats_out, 3))
    return replace(single_unit_plan(unit, beats_in, beats_out, 2, 2), stages=stages, streams=streams)


@settings(max_examples=10)
@given(st.integers(1, 4), st.integers(1, 3), st.integers(2, 3), SEEDS)
def test_concat(part: int, rounds: int, ways: int, seed: int) -> None:
    unit = ConcatStreams(BEAT, (part,) * ways, rounds)
    beats = part * rounds
    x = random_codes(seed, BEAT, beats)
    expected = np.repeat(x.reshape(IMAGES, rounds, 1, -1), ways, 2)
    check(forked(unit, beats, beats * ways, (beats * ways + 2,) * ways), x, expected)


@settings(max_examples=10)
@given(st.integers(1, 5), st.booleans(), st.booleans(), DEPTHS, SEEDS)
def test_lookup(beats: int, signed: bool, is_sign: bool, depth: int, seed: int) -> None:
    source, result = Beat(2, 5, signed), Beat(2, 1, False, True) if is_sign else Beat(2, 3, True)
    choices = [-1, 1] if is_sign else range(-4, 4)
    table = tuple(int(code) for code in np.random.default_rng(seed).choice(choices, 32))
    unit = LookupStream(beats, source, result, table)
    x = random_codes(seed, source, beats)
    check(single_unit_plan(unit, beats, beats, 2, depth), x, np.array(table)[x % 32])


@settings(max_examples=10)
@given(st.integers(1, 5), st.booleans(), st.integers(-1, 6), SEEDS)
def test_multiply(beats: int, signed: bool, shift: int, seed: int) -> None:
    """Squares."""
    source, how = Beat(2, 5, signed), Rescale(6, True, -30, 31, shift, 1)
    unit = MultiplyStreams(beats, source, source, how)
    x = random_codes(seed, source, beats)
    squares = x * x + how.half
    expected = np.clip(squares >> shift if shift >= 0 else squares << -shift, how.lo, how.hi)
    check(forked(unit, beats, beats, (3, 2)), x, expected)
