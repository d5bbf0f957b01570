"""Layers and networks that the tests of the accelerators share."""

from __future__ import annotations

import itertools
from dataclasses import replace

from hypothesis import strategies as st

from bitkiln.sim.workload import Layer, LayerKind, Workload

ALEXNET_TOPOLOGY = """Layer name, IFMAP Height, IFMAP Width, Filter Height, Filter Width, Channels, Num Filter, Strides,
Conv1, 224, 224, 11, 11, 3, 96, 4,
Conv2, 27, 27, 5, 5, 96, 256, 1,
Conv3, 13, 13, 3, 3, 256, 384, 1,
Conv4, 13, 13, 3, 3, 384, 384, 1,
Conv5, 13, 13, 3, 3, 384, 256, 1,
"""


def convolution(
    size: int,
    channels: int,
    filters: int,
    kernel: int,
    stride: int = 1,
    padding: int = 0,
    groups: int = 1,
    batch: int = 1,
) -> Layer:
    """A square convolution."""
    return Layer(
        "conv",
        LayerKind.CONVOLUTION,
        size,
        size,
        channels,
        filters,
        (kernel, kernel),
        (stride, stride),
        ((padding, padding), (padding, padding)),
        groups=groups,
        batch=batch,
    )


def matrix(rows: int, terms: int, columns: int) -> Layer:
    """[rows, terms] times [terms, columns]."""
    return Layer("fc", LayerKind.MATRIX, rows, 1, terms, columns)


def chain(name: str, *layers: Layer) -> Workload:
    """A network in which each layer reads the one before it."""
    named = [replace(layer, name=f"layer{index}") for index, layer in enumerate(layers, 1)]
    linked = [named[0], *(replace(layer, source=before.name) for before, layer in itertools.pairwise(named))]
    return Workload(name, tuple(linked), named[0].batch)


@st.composite
def layers(draw: st.DrawFn, most: int = 12) -> Layer:
    """Convolutions of all kinds: strides, padding, dilation, groups, batches, and matrix products."""
    groups = draw(st.sampled_from((1, 1, 1, 2, 3)))
    channels, filters = (groups * draw(st.integers(1, most)) for _ in range(2))
    if draw(st.booleans()):
        return Layer("fc", LayerKind.MATRIX, draw(st.integers(1, most)), 1, channels, filters, groups=groups)
    kernel = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    dilation = draw(st.tuples(st.integers(1, 2), st.integers(1, 2)))
    least = [(size - 1) * spread + 1 for size, spread in zip(kernel, dilation, strict=True)]
    pads = st.tuples(st.integers(0, 2), st.integers(0, 2))
    return Layer(
        "conv",
        LayerKind.CONVOLUTION,
        draw(st.integers(least[0], least[0] + most)),
        draw(st.integers(least[1], least[1] + most)),
        channels,
        filters,
        kernel,
        draw(st.tuples(st.integers(1, 3), st.integers(1, 3))),
        draw(st.tuples(pads, pads)),
        dilation,
        groups,
        batch=draw(st.integers(1, 3)),
        is_rounded_up=draw(st.booleans()),
    )


def eyeriss_alexnet(batch: int) -> Workload:
    """AlexNet as Table II of Chen et al., ISCA 2016, has it: padding is part of the input's size."""
    conv1 = convolution(227, 3, 96, 11, 4, batch=batch)
    conv2 = convolution(31, 96, 256, 5, groups=2, batch=batch)
    conv3 = convolution(15, 256, 384, 3, batch=batch)
    conv4 = convolution(15, 384, 384, 3, groups=2, batch=batch)
    conv5 = convolution(15, 384, 256, 3, groups=2, batch=batch)
    fc1 = convolution(6, 256, 4096, 6, batch=batch)
    fc2 = convolution(1, 4096, 4096, 1, batch=batch)
    fc3 = convolution(1, 4096, 1000, 1, batch=batch)
    names = ("conv1", "conv2", "conv3", "conv4", "conv5", "fc1", "fc2", "fc3")
    found = (conv1, conv2, conv3, conv4, conv5, fc1, fc2, fc3)
    return Workload("alexnet", tuple(replace(f, name=n) for n, f in zip(names, found, strict=True)), batch)
