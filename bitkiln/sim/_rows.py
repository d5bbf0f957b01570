"""Where the work of a layer goes on a row-stationary array, and what moves: the mapping of Eyeriss.

A primitive is one filter row over one input row; a set of (filter rows) x (output rows of a strip) cells makes a strip
of one filter's response to one channel. Sets lie side by side and one above the other for other filters and channels.
Outside, the loops are those of the chip: for some images and a strip, for some filters, over the channels, the sums
staying in the buffer. So filters are fetched for every group of images and every strip, inputs for every group of
filters, and outputs leave once (Chen et al., JSSC 52(1), 2017, sections III and V; m, n, e, p, q, r, t are its names).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ._tiles import Whole, input_rows
from .accelerator import Accelerator, RowStationary
from .engine import Widths
from .workload import Layer


@dataclass(frozen=True)
class Problem:
    """A layer on an array, and the sizes that the search asks for again and again."""

    layer: Layer
    array: RowStationary
    accelerator: Accelerator
    widths: Widths

    @property
    def channels(self) -> int:
        """Of one group."""
        return self.layer.channels // self.layer.groups

    def strip_inputs(self, rows: int) -> tuple[int, int]:
        """Input values of one channel that a strip needs, and all strips of an image together."""
        largest, total = input_rows(self.layer, np.array([rows], np.int64))
        return int(largest[0]) * self.layer.width, int(total[0]) * self.layer.width


@dataclass(frozen=True)
class Sets:
    """How a strip of `rows` output rows lies on the array: `folds` passes for all filter rows, `sets` at a time."""

    rows: int
    strips: int
    filter_rows: int
    folds: int
    sets: int


@dataclass(frozen=True, eq=False)
class Use:
    """What the sets and the pads are used for, one way an element of each array.

    A pass takes `set_filters` (t) and `set_channels` (r) in sets of their own, for `set_groups` groups, and
    `pad_filters` (p) and `pad_channels` (q) in the scratch pads of each cell.
    """

    set_filters: Whole
    set_channels: Whole
    set_groups: Whole
    pad_filters: Whole
    pad_channels: Whole

    def take(self, index: NDArray[np.int64] | NDArray[np.bool_]) -> Use:
        return Use(
            self.set_filters[index],
            self.set_channels[index],
            self.set_groups[index],
            self.pad_filters[index],
            self.pad_channels[index],
        )


@dataclass(frozen=True, eq=False)
class Mapping:
    """Mappings with the same loops: `images` (n) and `filters` (m) have their sums in the buffer together.

    The moves are those of the whole layer, in values.
    """

    problem: Problem
    sets: Sets
    images: int
    filters: int
    use: Use

    def __str__(self) -> str:
        use = self.use
        parts = {
            "m": self.filters,
            "n": self.images,
            "e": self.sets.rows,
            "p": int(use.pad_filters[0]),
            "q": int(use.pad_channels[0]),
            "r": int(use.set_channels[0]),
            "t": int(use.set_filters[0]),
            "groups": int(use.set_groups[0]),
        }
        return f"{' '.join(f'{name}={value}' for name, value in parts.items())}; {int(self.cells[0])} cells"

    @property
    def cells(self) -> Whole:
        """Cells that work in a full pass."""
        use = self.use
        return use.set_filters * use.set_channels * use.set_groups * self.sets.filter_rows * self.sets.rows

    @property
    def filter_groups(self) -> int:
        """Groups of filters whose sums are in the buffer one after the other."""
        return self.problem.layer.group_filters // self.filters

    @property
    def filter_passes(self) -> Whole:
        """Passes for the filters of one such group."""
        return -(-self.filters // (self.use.pad_filters * self.use.set_filters))

    @property
    def channel_passes(self) -> Whole:
        return -(-self.problem.channels // (self.use.pad_channels * self.use.set_channels))

    @property
    def cycles(self) -> Whole:
        """A cell makes a product a cycle; sets that are left empty at the edges take as long as full ones."""
        layer, use = self.problem.layer, self.use
        filters = self.filter_groups * -(-self.filters // use.set_filters)
        passes = filters * -(-self.problem.channels // use.set_channels) * -(-layer.groups // use.set_groups)
        cycles: Whole = layer.batch * self.sets.strips * self.sets.folds * layer.kernel[1] * layer.output[1] * passes
        return cycles

    @property
    def weight_reads(self) -> int:
        """From DRAM: all filters for each group of images and strip."""
        return self.problem.layer.weight_count * (self.problem.layer.batch // self.images) * self.sets.strips

    @property
    def input_reads(self) -> int:
        """From DRAM: all strips of the input for each group of filters."""
        layer = self.problem.layer
        return layer.batch * layer.channels * self.problem.strip_inputs(self.sets.rows)[1] * self.filter_groups

    @property
    def buffer_inputs(self) -> Whole:
        """From the buffer: what is there, for each pass over other filters, and again for each fold of filter rows."""
        return self.input_reads * self.filter_passes * self.sets.folds

    @property
    def sum_writes(self) -> Whole:
        """To the buffer: each sum after every pass over some channels. Each is read again, or leaves."""
        return self.problem.layer.output_count * self.channel_passes * self.sets.folds

    @property
    def delivered_weights(self) -> int:
        """A filter row goes to the cells of all output rows of its set."""
        return self.weight_reads * self.sets.rows

    @property
    def delivered_inputs(self) -> Whole:
        """Each cell of each set gets the input row that it slides over, for every pass."""
        layer = self.problem.layer
        rows = layer.kernel[0] * layer.output[0]
        filters = self.filter_groups * np.minimum(self.filters, self.filter_passes * self.use.set_filters)
        delivered: Whole = layer.batch * layer.channels * rows * layer.width * filters
        return delivered

    @property
    def passed_sums(self) -> Whole:
        """Sums that go from cell to cell up a column of each set, and from set to set of other channels."""
        layer = self.problem.layer
        return layer.output_count * self.channel_passes * layer.kernel[0] * self.use.set_channels
