"""Sliding-window generator: turns a feature map in raster order into the windows of a convolution or pooling."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np

from ._timing import NEVER, OutputTiming, Process, Steps, Wait, every
from ._unit import Beat, Unit

Pair = tuple[int, int]


@dataclass(frozen=True)
class Window(Unit):
    """Line buffer with one writer and one reader.

    Takes a feature map [height, width, channels] of `lanes` channels a beat and gives, for each output position, for
    each of `groups` channel groups: kernel row, kernel column, channel beat of the group. Positions outside the map
    give `pad_code`. The buffer is a ring of `buffer_rows` rows that runs on from image to image. Bipolar elements
    leave as two signed bits if `pad_code` is 0, which they cannot be.

    The reader starts a position when its last needed beat is written; the writer overwrites a row two cycles after the
    reader has finished the output row that last needed it.
    """

    kind: ClassVar[str] = "window"
    height: int
    width: int
    channels: int
    lanes: int
    bits: int
    signed: bool
    kernel: Pair
    stride: Pair
    padding: Pair
    dilation: Pair
    output_size: Pair
    groups: int = 1
    pad_code: int = 0
    bipolar: bool = False

    LATENCY: ClassVar[int] = 2
    RELEASE_DELAY: ClassVar[int] = 2

    @property
    def beats_per_pixel(self) -> int:
        return self.channels // self.lanes

    @property
    def row_beats(self) -> int:
        return self.width * self.beats_per_pixel

    @property
    def span(self) -> Pair:
        """Rows and columns that one window covers."""
        return (self.dilation[0] * (self.kernel[0] - 1) + 1, self.dilation[1] * (self.kernel[1] - 1) + 1)

    @property
    def buffer_rows(self) -> int:
        """Rows of the ring: the window, and as many rows as the next output row needs anew."""
        return self.span[0] + self.stride[0]

    @property
    def window_steps(self) -> int:
        """Beats of one output position."""
        return self.kernel[0] * self.kernel[1] * self.beats_per_pixel

    @property
    def inputs(self) -> tuple[Beat, ...]:
        return (Beat(self.lanes, self.bits, self.signed, self.bipolar),)

    @property
    def widens(self) -> bool:
        """True if bipolar elements become two signed bits."""
        return self.bipolar and self.pad_code == 0

    @property
    def outputs(self) -> tuple[Beat, ...]:
        return (Beat(self.lanes, 2, True),) if self.widens else self.inputs

    @cached_property
    def needed_beats(self) -> Steps:
        """[output rows, output columns]: how many beats of the image must be written before a position may start."""
        rows, columns = self.output_size
        last_row = np.clip(np.arange(rows) * self.stride[0] + self.span[0] - 1 - self.padding[0], 0, self.height - 1)
        last_column = np.clip(
            np.arange(columns) * self.stride[1] + self.span[1] - 1 - self.padding[1], 0, self.width - 1
        )
        beats = last_row[:, None] * self.row_beats + (last_column[None, :] + 1) * self.beats_per_pixel
        return np.maximum.accumulate(beats.reshape(-1)).reshape(rows, columns)

    @cached_property
    def first_rows(self) -> tuple[int, ...]:
        """For each output row, the first input row that it or a later one needs; then the height."""
        rows = [min(max(row * self.stride[0] - self.padding[0], 0), self.height) for row in range(self.output_size[0])]
        return (*rows, self.height)

    def timing(self) -> tuple[Process, ...]:
        return (self._writer(), self._reader())

    @property
    def _row_steps(self) -> int:
        return self.output_size[1] * self.window_steps

    def _writer(self) -> Process:
        steps = self.height * self.row_beats
        row = np.arange(steps, dtype=np.int64) // self.row_beats - self.buffer_rows
        image, row = np.divmod(row, self.height)
        # The output row whose end releases an input row is the last one that starts at or before it.
        release_row = np.searchsorted(np.array(self.first_rows[1:]), np.arange(self.height), side="right")
        release_row = np.minimum(release_row, self.output_size[0] - 1)
        reader_steps = self.output_size[0] * self._row_steps
        waits = image * reader_steps + (release_row[row] + 1) * self._row_steps - 1
        return Process(steps, ((0, every(steps)),), waits=(Wait(1, waits, self.RELEASE_DELAY),), name="writer")

    def _reader(self) -> Process:
        steps = self.output_size[0] * self._row_steps
        written = np.full(steps, NEVER, np.int64)
        written[:: self.window_steps] = self.needed_beats.reshape(-1) - 1
        output = OutputTiming(np.arange(steps, dtype=np.int64), self.LATENCY)
        return Process(steps, outputs=((0, output),), waits=(Wait(0, written, 1),), name="reader")
