"""How fast a sliding window can go from image to image: its two sequencers wait for each other, row by row."""

from __future__ import annotations

import numpy as np

from bitkiln.ir.units import Window

MAX_IMAGES = 24


def window_interval(unit: Window) -> int:
    """Return the cycles between images of a window that always has input and whose output is always taken.

    More than the steps of reader and writer where the ring is too small for one image to begin while the one before
    ends; over a whole map (global pooling) it is nearly their sum.
    """
    rows = _Rows(unit)
    for image in range(MAX_IMAGES):
        rows.read_image(image)
        ends = rows.ends[unit.output_size[0] - 1 :: unit.output_size[0]]
        if image > 3 and ends[-1] - ends[-2] == ends[-2] - ends[-3]:
            break
    return -(-(ends[-1] - ends[-3]) // 2)


class _Rows:
    """Cycles over all images: in `starts` of each input row's first write, in `ends` of each output row's last read."""

    def __init__(self, unit: Window) -> None:
        self.unit = unit
        self.starts: list[int] = []
        self.ends: list[int] = []
        positions = unit.output_size[1]
        self.row, self.beat = np.divmod(unit.needed_beats - 1, unit.row_beats)
        self.to_end = (positions - np.arange(positions)) * unit.window_steps
        release = np.searchsorted(np.array(unit.first_rows[1:]), np.arange(unit.height), side="right")
        self.release = np.minimum(release, unit.output_size[0] - 1)

    def read_image(self, image: int) -> None:
        for row, beat in zip(self.row, self.beat, strict=True):
            while len(self.starts) <= image * self.unit.height + int(row.max()):
                self._write()
            written = np.array(self.starts)[image * self.unit.height + row] + beat
            end = int((written + self.to_end).max())
            self.ends.append(max(end, self.ends[-1] + int(self.to_end[0])) if self.ends else end)

    def _write(self) -> None:
        start = self.starts[-1] + self.unit.row_beats if self.starts else 0
        image, row = divmod(len(self.starts) - self.unit.buffer_rows, self.unit.height)
        if image >= 0:
            freed = self.ends[image * self.unit.output_size[0] + int(self.release[row])]
            start = max(start, freed + self.unit.RELEASE_DELAY)
        self.starts.append(start)
