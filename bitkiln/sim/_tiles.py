"""The tilings of a layer that fit into an accelerator's memories, as arrays with one element a tiling."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from bitkiln.ir import ToolError, fail

from .accelerator import Accelerator, Operand, Sram
from .engine import Widths
from .workload import Layer

Whole = NDArray[np.int64]

LEAST_SHARE = 0.75
"""What moves less is chosen if it has at least this share of the speed of what is fastest."""


@dataclass(frozen=True)
class Residence:
    """What of a layer stays on the chip: its whole input or output, in the memory that holds activations.

    `reserved_bits` is what they take of it; tiles have the rest. With `has_weights`, all weights are in their memory
    from the image before.
    """

    has_input: bool = False
    has_output: bool = False
    reserved_bits: int = 0
    has_weights: bool = False


NOTHING_STAYS = Residence()


@dataclass(frozen=True)
class Setting:
    """What a tiling is for. Units are filters and channels that fill the array; tiles may have to keep all channels."""

    layer: Layer
    widths: Widths
    accelerator: Accelerator
    filter_unit: int = 1
    channel_unit: int = 1
    resident: Residence = NOTHING_STAYS
    has_all_channels: bool = False

    @property
    def kernel_taps(self) -> int:
        return math.prod(self.layer.kernel)

    @property
    def group_channels(self) -> int:
        return self.layer.channels // self.layer.groups

    def room_bits(self, sram: Sram) -> int:
        """What one tile may fill of a memory."""
        is_shared = Operand.ACTIVATIONS in sram.holds
        free = sram.capacity_bits - (self.resident.reserved_bits if is_shared else 0)
        return max(0, free // 2 if sram.is_double_buffered else free)


@dataclass(frozen=True, eq=False)
class Cuts:
    """Ways to cut the positions of a layer: into tiles of `images` whole images, or of `rows` rows of one.

    The largest tile has `positions` output pixels, for which it needs `inputs` values of each channel; `all_inputs`
    are those of all `tiles`.
    """

    images: Whole
    rows: Whole
    positions: Whole
    inputs: Whole
    all_inputs: Whole
    tiles: Whole

    def take(self, index: Whole) -> Cuts:
        return Cuts(*(getattr(self, field.name)[index] for field in fields(self)))


@dataclass(frozen=True, eq=False)
class Tilings:
    """Ways to cut a layer, one an element of every array.

    A tile has `filters` and `channels` of one group, or all of `groups` groups; `*_tiles` count tiles.
    """

    cuts: Cuts
    filters: Whole
    filter_tiles: Whole
    channels: Whole
    channel_tiles: Whole
    groups: Whole

    @property
    def position_tiles(self) -> Whole:
        return self.cuts.tiles

    def take(self, index: Whole) -> Tilings:
        parts = (self.filters, self.filter_tiles, self.channels, self.channel_tiles, self.groups)
        return Tilings(self.cuts.take(index), *(part[index] for part in parts))


@lru_cache(maxsize=1024)
def sizes(total: int, unit: int = 1) -> Whole:
    """Return the sizes of tiles of `total`, ascending: for every number of tiles the least, in whole units.

    The array is shared: it cannot be written to.
    """
    most = -(-total // unit) - 1
    low = np.arange(math.isqrt(most) + 1, dtype=np.int64)
    high = most // low[:0:-1]
    units = (
        np.concatenate([low, high[1:] if most and high[0] == low[-1] else high]) + 1
    )  # all of ceil((most + 1) / count)
    tiles: Whole = np.minimum(units * unit, total)
    tiles.flags.writeable = False
    return tiles


@lru_cache(maxsize=1024)
def _all_sizes(total: int, unit: int) -> Whole:
    """Sizes of tiles that differ in their number, and those of them in whole units."""
    found = np.union1d(sizes(total, unit), sizes(total))
    found.flags.writeable = False
    return found


def tilings(setting: Setting) -> Tilings:
    """Return all tilings that fit, with as few tiles of channels as fit.

    Filters and channels come in every size that differs in the number of tiles, and in whole units. Raises
    `sram-too-small`, which says what the smallest tile needs.
    """
    layer = setting.layer
    cuts = _cuts(layer)
    filters = _all_sizes(layer.group_filters, setting.filter_unit)
    p, n = (axis.ravel() for axis in np.indices((len(cuts.rows), len(filters))))
    channels = _channels(setting, cuts.take(p), filters[n])
    fits = np.flatnonzero(channels >= (setting.group_channels if setting.has_all_channels else 1))
    if not len(fits):
        raise _too_small(setting)
    return _assembled(setting, cuts.take(p[fits]), filters[n[fits]], channels[fits])


def with_fewer_channels(setting: Setting, found: Tilings) -> Tilings:
    """Return the same tilings, and those with the filters and positions of each and fewer channels."""
    if setting.has_all_channels:
        return found
    fewer = _all_sizes(setting.group_channels, setting.channel_unit)
    single = np.flatnonzero(found.groups == 1)
    which, size = (axis.ravel() for axis in np.indices((len(single), len(fewer))))
    smaller = fewer[size] < found.channels[single[which]]
    index, channels = single[which[smaller]], fewer[size[smaller]]
    every = found.take(np.concatenate([np.arange(len(found.filters)), index]))
    channels = np.concatenate([found.channels, channels])
    return replace(every, channels=channels, channel_tiles=-(-setting.group_channels // channels))


def _cuts(layer: Layer) -> Cuts:
    height, width = layer.output
    parts, batches = sizes(height)[:-1], sizes(layer.batch)
    rows = np.concatenate([parts, np.full(len(batches), height, np.int64)])
    images = np.concatenate([np.ones(len(parts), np.int64), batches])
    largest, total = input_rows(layer, rows)
    return Cuts(
        images,
        rows,
        images * rows * width,
        images * largest * layer.width,
        layer.batch * total * layer.width,
        -(-layer.batch // images) * -(-height // rows),
    )


def input_rows(layer: Layer, rows: Whole) -> tuple[Whole, Whole]:
    """Return for tiles of so many output rows the input rows of the one that needs most, and of all of an image."""
    height = layer.output[0]
    if layer.kernel[0] == layer.stride[0] == 1 and layer.padding[0] == (0, 0):
        return rows, np.full(len(rows), height, np.int64)
    if layer.dilation[0] > 1 or layer.stride[0] > layer.kernel[0]:
        return _rows_with_gaps(layer, rows)
    first = np.arange(-(-height // int(rows.min())), dtype=np.int64) * rows[:, None]
    count = np.clip(height - first, 0, rows[:, None])  # none beyond the last tile
    start = first * layer.stride[0] - layer.padding[0][0]
    end = start + (count - 1) * layer.stride[0] + layer.kernel[0]
    covered = np.maximum(0, np.minimum(end, layer.height) - np.maximum(start, 0)) * (count > 0)
    return covered.max(axis=1), covered.sum(axis=1)


def _rows_with_gaps(layer: Layer, rows: Whole) -> tuple[Whole, Whole]:
    """The same where windows leave out rows: those that some tap of a tile touches."""
    height = layer.output[0]
    outputs, taps = np.indices((height, layer.kernel[0]))
    touched = outputs * layer.stride[0] - layer.padding[0][0] + taps * layer.dilation[0]
    table = np.zeros((height, layer.height), bool)
    inside = (touched >= 0) & (touched < layer.height)
    table[outputs[inside], touched[inside]] = True
    counts = [np.logical_or.reduceat(table, np.arange(0, height, int(size))).sum(axis=1) for size in rows]
    return np.array([count.max() for count in counts]), np.array([count.sum() for count in counts])


def _tile_bits(setting: Setting, sram: Sram, cuts: Cuts, filters: Whole) -> tuple[Whole, Whole]:
    """Bits of a tile in one memory: for each channel, and without regard to channels."""
    each, fixed = np.zeros_like(filters), np.zeros_like(filters)
    if Operand.WEIGHTS in sram.holds and not setting.resident.has_weights:
        each = each + filters * setting.kernel_taps * setting.widths.weight
    if Operand.ACTIVATIONS in sram.holds and not setting.resident.has_input:
        each = each + cuts.inputs * setting.widths.activation
    if Operand.OUTPUTS in sram.holds:
        fixed = fixed + cuts.positions * filters * setting.widths.accumulator
    return each, fixed


def _channels(setting: Setting, cuts: Cuts, filters: Whole) -> Whole:
    """The most channels of a tile, of the sizes that are tried; 0 if not even one channel fits."""
    most = np.full(len(filters), setting.group_channels, np.int64)
    for sram in setting.accelerator.sram:
        each, fixed = _tile_bits(setting, sram, cuts, filters)
        room = setting.room_bits(sram) - fixed
        most = np.minimum(most, np.where(room < 0, 0, np.where(each > 0, room // np.maximum(each, 1), most)))
    allowed = np.concatenate([np.zeros(1, np.int64), _all_sizes(setting.group_channels, setting.channel_unit)])
    return allowed[np.searchsorted(allowed, most, side="right") - 1]


def _assembled(setting: Setting, cuts: Cuts, filters: Whole, channels: Whole) -> Tilings:
    """The tilings of one group, and those of whole groups if one fits."""
    layer = setting.layer
    filter_tiles, channel_tiles = -(-layer.group_filters // filters), -(-setting.group_channels // channels)
    found = Tilings(cuts, filters, filter_tiles, channels, channel_tiles, np.ones_like(filters))
    whole = np.flatnonzero((cuts.tiles == 1) & (filter_tiles == 1) & (channel_tiles == 1))
    if layer.groups == 1 or not len(whole):
        return found
    groups = sizes(layer.groups)
    fits = np.ones(len(groups), bool)
    for sram in setting.accelerator.sram:
        each, fixed = (bits[0] for bits in _tile_bits(setting, sram, cuts.take(whole[:1]), filters[whole[:1]]))
        fits &= groups * (each * setting.group_channels + fixed) <= setting.room_bits(sram)
    every = np.concatenate([np.arange(len(filters)), np.full(int(fits.sum()), whole[0])])
    at_a_time = np.concatenate([found.groups, groups[fits]])
    return replace(found.take(every), groups=at_a_time)


def _too_small(setting: Setting) -> ToolError:
    """What the smallest tile needs in each memory that cannot hold it."""
    layer, needs = setting.layer, []
    cuts = _cuts(layer)
    smallest = cuts.take(np.array([int(np.argmin(cuts.positions))], np.int64))
    for sram in setting.accelerator.sram:
        each, fixed = (int(bits[0]) for bits in _tile_bits(setting, sram, smallest, np.ones(1, np.int64)))
        if each + fixed > setting.room_bits(sram):
            halves = 2 if sram.is_double_buffered else 1
            least = -(-halves * (each + fixed) // 8)
            holds = " and ".join(operand.value for operand in sram.holds)
            double = ", double buffered" if sram.is_double_buffered else ""
            needs.append(f"the sram for {holds} needs {least:,} bytes{double}, not {sram.capacity_bytes:,}")
    message = f"layer {layer.name} does not fit on {setting.accelerator.name} with the smallest tile"
    detail = f"{message}, one output row of one filter and one channel: {'; '.join(needs)}"
    return fail("sram-too-small", detail, hint="raise capacity_bytes of the sram in the accelerator's file")
