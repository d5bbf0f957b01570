from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from bitkiln.ir.units import Beat, Thresholds, ThresholdStream

from .rtl_bench import check, single_unit_plan

IMAGES = 3


@st.composite
def streams(draw: st.DrawFn) -> ThresholdStream:
    lanes, rounds, repeats = draw(st.integers(1, 3)), draw(st.integers(1, 3)), draw(st.integers(1, 3))
    rng = np.random.default_rng(draw(st.integers(0, 1 << 30)))
    count = draw(st.sampled_from([1, 2, 3, 15]))
    levels = np.sort(rng.integers(-20, 40, (lanes * rounds, count)), 1)
    is_sign = count == 1 and draw(st.booleans())
    pairs = [(-1, 2), (1, -2)] if is_sign else [(0, 1), (-16, 2), (15, -1)]
    base, step = zip(*(pairs[i] for i in rng.integers(0, len(pairs), lanes * rounds)), strict=True)
    output = Beat(lanes, 1, False, True) if is_sign else Beat(lanes, 6, True)
    source = Beat(lanes, 6, draw(st.booleans()))
    return ThresholdStream(rounds * repeats, source, output, Thresholds(levels, base, step))


@settings(max_examples=15)
@given(streams(), st.integers(1, 8), st.integers(0, 1 << 30))
def test_rtl_computes_and_times_as_declared(unit: ThresholdStream, depth: int, seed: int) -> None:
    lanes, table = unit.input.lanes, unit.thresholds
    low, high = unit.input.code_range
    x = np.random.default_rng(seed).integers(low, high + 1, (IMAGES, unit.beats * lanes))
    expected = np.empty_like(x)
    for image, position in np.ndindex(*x.shape):
        row = position % len(table.values)
        reached = sum(int(x[image, position]) >= level for level in table.values[row].tolist())
        expected[image, position] = table.base[row] + table.step[row] * reached
    check(single_unit_plan(unit, unit.beats, unit.beats, 2, depth), x, expected)
