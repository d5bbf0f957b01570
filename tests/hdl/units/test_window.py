from __future__ import annotations

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from bitkiln.ir.units import Window

from .rtl_bench import check, single_unit_plan

IMAGES = 3
PAD_CODE = -3


@st.composite
def windows(draw: st.DrawFn) -> Window:
    def pair(low: int, high: int) -> tuple[int, int]:
        return draw(st.integers(low, high)), draw(st.integers(low, high))

    size, kernel, stride, dilation = pair(1, 6), pair(1, 3), pair(1, 3), pair(1, 2)
    padding = draw(st.integers(0, kernel[0] - 1)), draw(st.integers(0, kernel[1] - 1))
    rooms = [size[i] + 2 * padding[i] - dilation[i] * (kernel[i] - 1) - 1 for i in range(2)]
    assume(min(rooms) >= 0)
    output = (rooms[0] // stride[0] + 1, rooms[1] // stride[1] + 1)
    lanes, beats = draw(st.integers(1, 2)), draw(st.integers(1, 3))
    groups, bipolar = draw(st.sampled_from([1, beats])), draw(st.booleans())
    pad_code = draw(st.sampled_from([-1, 0])) if bipolar else PAD_CODE
    bits, shape = 1 if bipolar else 4, (*size, lanes * beats, lanes)
    return Window(*shape, bits, not bipolar, kernel, stride, padding, dilation, output, groups, pad_code, bipolar)


def reference(unit: Window, x: np.ndarray) -> np.ndarray:
    """x: [images, height, width, beats a pixel, lanes]; the loops of the docstring, written out."""
    beats, per_group = [], unit.beats_per_pixel // unit.groups
    for image in x:
        for index in np.ndindex(*unit.output_size, unit.groups, *unit.kernel, per_group):
            oy, ox, group, ky, kx, beat = index
            row = oy * unit.stride[0] - unit.padding[0] + ky * unit.dilation[0]
            column = ox * unit.stride[1] - unit.padding[1] + kx * unit.dilation[1]
            is_inside = 0 <= row < unit.height and 0 <= column < unit.width
            pad = np.full(unit.lanes, unit.pad_code)
            beats.append(image[row, column, group * per_group + beat] if is_inside else pad)
    return np.array(beats)


@settings(max_examples=40)
@given(windows(), st.integers(1, 8), st.integers(1, 8), st.integers(0, 1 << 30))
def test_rtl_computes_and_times_as_declared(unit: Window, depth_in: int, depth_out: int, seed: int) -> None:
    shape = (IMAGES, unit.height, unit.width, unit.beats_per_pixel, unit.lanes)
    x = np.random.default_rng(seed).integers(-8, 8, shape)
    x = np.where(x < 0, -1, 1) if unit.bipolar else x
    beats_out = unit.output_size[0] * unit.output_size[1] * unit.window_steps
    check(single_unit_plan(unit, unit.height * unit.row_beats, beats_out, depth_in, depth_out), x, reference(unit, x))
