"""Which operands of a layer are zero: as its values say, or drawn with the chance that its densities say.

Masks are true where a value is not zero. Drawn ones depend on nothing but the layer's shape and densities and the seed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from .compressed import Mask
from .workload import Layer, Values

SEED = 1
"""Of drawn masks, where nothing else is said."""


@dataclass(frozen=True)
class Operands:
    """A layer by what its masks follow from: shape, densities and the very arrays of its values, not its name.

    A key for caches; it keeps the arrays, so that no other can get their identity meanwhile.
    """

    layer: Layer
    weights: int
    activations: int

    @classmethod
    def of(cls, layer: Layer) -> Operands:
        return cls(replace(layer, name="", place="", source=""), id(layer.weights), id(layer.activations))


def weight_shape(layer: Layer) -> tuple[int, int, int, int]:
    """Filters, channels of one group, height and width of the kernel."""
    return layer.filters, layer.channels // layer.groups, *layer.kernel


def activation_shape(layer: Layer) -> tuple[int, int, int, int]:
    """Images, channels, height and width of the input."""
    return layer.batch, layer.channels, layer.height, layer.width


def mask_of(values: Values, shape: tuple[int, ...]) -> Mask:
    """Return where `values` are not zero, in `shape`."""
    assert values.size == math.prod(shape), f"{values.shape} are no values for {shape}"
    return np.asarray(values != 0).reshape(shape)


def drawn(generator: np.random.Generator, shape: tuple[int, ...], density: float) -> Mask:
    """Draw a mask each of whose places is true with a chance of `density`."""
    return np.asarray(generator.random(shape) < density)


def masks(layer: Layer, seed: int = SEED) -> tuple[Mask, Mask]:
    """Return the masks of weights and activations, in `weight_shape` and `activation_shape`."""
    generator = np.random.default_rng(seed)
    weights, activations = weight_shape(layer), activation_shape(layer)
    return (
        drawn(generator, weights, layer.weight_density) if layer.weights is None else mask_of(layer.weights, weights),
        drawn(generator, activations, layer.activation_density)
        if layer.activations is None
        else mask_of(layer.activations, activations),
    )


def tap(layer: Layer, activations: Mask, row: int, column: int) -> Mask:
    """Return what one place of the kernel sees at each output position: [images, channels, output height, width].

    Padding, and what a window that is rounded up sees beyond it, is zero.
    """
    result = np.zeros((*activations.shape[:2], *layer.output), bool)
    (rows, seen_rows), (columns, seen_columns) = _span(layer, 0, row), _span(layer, 1, column)
    result[:, :, rows, columns] = activations[:, :, seen_rows, seen_columns]
    return result


def _span(layer: Layer, axis: int, place: int) -> tuple[slice, slice]:
    """Along one axis: outputs that see a value of the input at this place of the kernel, and which values these are."""
    stride, size = layer.stride[axis], (layer.height, layer.width)[axis]
    offset = place * layer.dilation[axis] - layer.padding[axis][0]
    first = max(0, -(offset // stride))
    last = min(layer.output[axis], (size - 1 - offset) // stride + 1)
    if last <= first:
        return slice(0, 0), slice(0, 0)
    start = first * stride + offset
    return slice(first, last), slice(start, start + (last - first - 1) * stride + 1, stride)


def vectors(layer: Layer, activations: Mask) -> Mask:
    """Return the input of each output position [images x positions, taps], for layers of one group."""
    assert layer.groups == 1
    places = [
        tap(layer, activations, row, column) for row in range(layer.kernel[0]) for column in range(layer.kernel[1])
    ]
    seen = np.stack(places, axis=2)  # images, channels, places, height, width
    return np.moveaxis(seen.reshape(layer.batch, layer.taps, -1), 1, 2).reshape(layer.positions, layer.taps)
