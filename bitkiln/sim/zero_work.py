"""How many products with and without zeros fall to each element of a zero-skipping array.

Of a kernel's place (channel, row, column), each non-zero weight meets each non-zero activation that the place sees
while the kernel slides: products without a zero are the sum over places of non-zero weights times non-zero activations.
Lane by lane and tile by tile, that is a matrix product of two tables of counts.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .accelerator import Zeros, ZeroSkip
from .compressed import Mask
from .sparsity import tap
from .workload import Layer

Table = NDArray[np.floating[Any]]

_EXACT_FLOAT32 = 1 << 24


@dataclass(frozen=True)
class ElementTile:
    """What an element computes at a time: so many of its lane's filters times so many of its lane's pixels."""

    filters: int
    pixels: int
    filter_tiles: int
    pixel_tiles: int


@dataclass(frozen=True)
class ZeroWork:
    """Products that take a cycle, those of them that are computed, and cycles if elements meet after each tile."""

    cycled: int
    performed: int
    cycles: int


def element_tile(layer: Layer, engine: ZeroSkip, weight_bits: int, activation_bits: int) -> ElementTile:
    """Return the tile that fits the accumulators and is fed with the fewest bits.

    Weights are read again for each tile of pixels, activations for each tile of filters.
    """
    filters, pixels = -(-layer.filters // engine.filter_lanes), -(-layer.positions // engine.position_lanes)
    tiles = []
    for count in range(1, min(filters, engine.accumulators) + 1):
        each = min(pixels, engine.accumulators // count)
        tiles.append(ElementTile(count, each, -(-filters // count), -(-pixels // each)))
    return min(tiles, key=lambda tile: weight_bits * tile.pixel_tiles + activation_bits * tile.filter_tiles)


def zero_work(layer: Layer, engine: ZeroSkip, tile: ElementTile, weights: Mask, activations: Mask) -> ZeroWork:
    """Count the work of a layer whose operands are zero where the masks are false."""
    connected = _connected(layer)
    whole = _grouped(layer, weights)
    pixels = {zeros: _pixels(layer, engine, tile, activations, zeros) for zeros in _needed(engine.activation_zeros)}
    filters = {
        zeros: _filters(engine, tile, connected if zeros is Zeros.COMPUTE else whole)
        for zeros in _needed(engine.weight_zeros)
    }
    busy = _products(filters[_taken(engine.weight_zeros)], pixels[_taken(engine.activation_zeros)], layer, tile)
    computed = filters[_done(engine.weight_zeros)].sum(axis=(0, 1), dtype=np.float64)
    seen = pixels[_done(engine.activation_zeros)].sum(axis=(0, 1), dtype=np.float64)
    return ZeroWork(
        int(busy.sum(dtype=np.float64)), int(computed @ seen), int(busy.max(axis=(1, 3)).sum(dtype=np.float64))
    )


def _taken(zeros: Zeros) -> Zeros:
    """Which operands take a cycle: all, unless zeros are skipped."""
    return Zeros.SKIP if zeros is Zeros.SKIP else Zeros.COMPUTE


def _done(zeros: Zeros) -> Zeros:
    """Which operands are computed with: all, unless zeros are skipped or gated."""
    return Zeros.COMPUTE if zeros is Zeros.COMPUTE else Zeros.SKIP


def _needed(zeros: Zeros) -> set[Zeros]:
    return {_taken(zeros), _done(zeros)}


def _connected(layer: Layer) -> Mask:
    """Which filters see which channels: [filters, channels x places of the kernel]."""
    of_filter = np.arange(layer.filters) // layer.group_filters
    of_channel = np.arange(layer.channels) // (layer.channels // layer.groups)
    return np.repeat(of_filter[:, None] == of_channel, math.prod(layer.kernel), axis=1)


def _grouped(layer: Layer, weights: Mask) -> Mask:
    """The weights [filters, channels x places] with the channels of all groups."""
    result = np.zeros((layer.filters, layer.groups, layer.taps), bool)
    result[np.arange(layer.filters), np.arange(layer.filters) // layer.group_filters] = weights.reshape(
        layer.filters, -1
    )
    return result.reshape(layer.filters, -1)


def _filters(engine: ZeroSkip, tile: ElementTile, mask: Mask) -> Table:
    """Counts [tiles, lanes, places]: filter f is in lane f mod n, where it is f div n."""
    lanes = engine.filter_lanes
    padded = np.zeros((tile.filter_tiles * tile.filters * lanes, mask.shape[1]), bool)
    padded[: len(mask)] = mask
    parts = padded.reshape(tile.filter_tiles, tile.filters, lanes, -1)
    return np.asarray(parts.sum(axis=1, dtype=np.float32))


def _pixels(layer: Layer, engine: ZeroSkip, tile: ElementTile, activations: Mask, zeros: Zeros) -> Table:
    """Counts [tiles, lanes, places]: pixel p is in lane p mod n, where it is p div n."""
    lanes, places = engine.position_lanes, math.prod(layer.kernel)
    shape = (layer.channels, tile.pixel_tiles, tile.pixels, lanes)
    result = np.zeros((tile.pixel_tiles, lanes, layer.channels, places), np.float32)
    for place, seen in enumerate(_seen(layer, activations, zeros)):
        padded = np.zeros((layer.channels, math.prod(shape[1:])), bool)
        padded[:, : layer.positions] = np.moveaxis(seen, 1, 0).reshape(layer.channels, -1)
        result[..., place] = np.moveaxis(padded.reshape(shape).sum(axis=2), 0, 2)
    return result.reshape(tile.pixel_tiles, lanes, -1)


def _seen(layer: Layer, activations: Mask, zeros: Zeros) -> Iterator[Mask]:
    for row in range(layer.kernel[0]):
        for column in range(layer.kernel[1]):
            if zeros is Zeros.SKIP:
                yield tap(layer, activations, row, column)
            else:
                yield np.ones((layer.batch, layer.channels, *layer.output), bool)


def _products(filters: Table, pixels: Table, layer: Layer, tile: ElementTile) -> Table:
    """Products of each element in each tile: [filter tiles, filter lanes, pixel tiles, position lanes]."""
    left, right = filters.reshape(-1, filters.shape[2]), pixels.reshape(-1, pixels.shape[2])
    if tile.filters * tile.pixels * layer.taps >= _EXACT_FLOAT32:
        left, right = left.astype(np.float64), right.astype(np.float64)
    products: Table = left @ right.T
    return products.reshape(*filters.shape[:2], *pixels.shape[:2])
