"""Masks of a layer's operands, and what a kernel's places see of them, against torch's own windows."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from bitkiln.sim.sparsity import masks, tap, vectors
from bitkiln.sim.workload import Layer, LayerKind

PAIR = st.tuples(st.integers(1, 3), st.integers(1, 3))
PAD = st.tuples(st.integers(0, 2), st.integers(0, 2))


@st.composite
def layers(draw: st.DrawFn) -> Layer:
    groups = draw(st.sampled_from((1, 1, 2)))
    sizes = [draw(st.integers(1, 9)) for _ in range(2)]
    kernel, dilation, padding = draw(PAIR), draw(PAIR), (draw(PAD), draw(PAD))
    for size, taps, spread, pad in zip(sizes, kernel, dilation, padding, strict=True):
        assume(size + sum(pad) > spread * (taps - 1))
    return Layer(
        name="layer",
        kind=LayerKind.CONVOLUTION,
        height=sizes[0],
        width=sizes[1],
        channels=draw(st.integers(1, 4)) * groups,
        filters=draw(st.integers(1, 5)) * groups,
        kernel=kernel,
        stride=draw(PAIR),
        padding=padding,
        dilation=dilation,
        groups=groups,
        batch=draw(st.integers(1, 3)),
        is_rounded_up=draw(st.booleans()),
        given_weight_density=draw(st.floats(0, 1)),
        given_activation_density=draw(st.floats(0, 1)),
    )


def unfolded(layer: Layer, activations: np.ndarray) -> np.ndarray:
    """[images, channels, places of the kernel, output height, output width] by torch; rounded up with more zeros."""
    (top, bottom), (left, right) = layer.padding
    missing = [0, 0]
    for axis in range(2):
        span = layer.dilation[axis] * (layer.kernel[axis] - 1) + 1
        needed = (layer.output[axis] - 1) * layer.stride[axis] + span
        missing[axis] = max(0, needed - (layer.height, layer.width)[axis] - sum(layer.padding[axis]))
    x = F.pad(torch.from_numpy(activations).float(), (left, right + missing[1], top, bottom + missing[0]))
    columns = F.unfold(x, layer.kernel, dilation=layer.dilation, stride=layer.stride)
    return columns.reshape(layer.batch, layer.channels, -1, *layer.output).numpy() > 0


@settings(max_examples=150, deadline=None)
@given(layer=layers())
def test_places_of_the_kernel_see_what_torch_unfolds(layer: Layer) -> None:
    _, activations = masks(layer)
    expected = unfolded(layer, activations)
    for place in range(layer.kernel[0] * layer.kernel[1]):
        seen = tap(layer, activations, *divmod(place, layer.kernel[1]))
        assert (seen == expected[:, :, place]).all()
    if layer.groups == 1:
        by_position = expected.reshape(layer.batch, layer.taps, -1).transpose(0, 2, 1)
        assert (vectors(layer, activations) == by_position.reshape(layer.positions, layer.taps)).all()


def test_drawn_masks_depend_on_the_seed_alone() -> None:
    layer = Layer(
        "a", LayerKind.CONVOLUTION, 40, 50, 16, 32, (3, 3), given_weight_density=0.3, given_activation_density=0.6
    )
    first, again, other = masks(layer), masks(layer), masks(layer, seed=2)
    assert all((mask == same).all() for mask, same in zip(first, again, strict=True))
    assert all((mask != different).any() for mask, different in zip(first, other, strict=True))
    assert [round(float(mask.mean()), 1) for mask in first] == [0.3, 0.6]


def test_values_come_first() -> None:
    weights = np.array([[1.0, 0.0], [0.0, -2.0]], np.float32)
    activations = np.array([3.0, 0.0], np.float32)
    layer = Layer("fc", LayerKind.MATRIX, 1, 1, 2, 2, weights=weights, activations=activations)
    found = masks(layer)
    assert found[0].tolist() == [[[[True]], [[False]]], [[[False]], [[True]]]]
    assert found[1].tolist() == [[[[True]], [[False]]]]
