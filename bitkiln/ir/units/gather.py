"""Reordering: elements of a block leave in any order, any number of times, or not at all."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ._timing import NEVER, InputTiming, OutputTiming, Process, Steps, Wait, every
from ._unit import Beat, Unit


@dataclass(frozen=True, eq=False)
class Gather(Unit):
    """Output beat i of each block is input beat `source[i]` of the same block, or zeros where `source[i]` is -1.

    An image has `blocks` blocks of `block_beats` input beats. Two blocks have room in the memory: while one is written
    the one before is read. The reader starts a block when it is wholly written, the writer fills a place three cycles
    after the last read of the block that was there.
    """

    kind: ClassVar[str] = "gather"
    beat: Beat
    blocks: int
    block_beats: int
    source: NDArray[np.int64] = field(repr=False)

    LATENCY: ClassVar[int] = 3
    RELEASE_DELAY: ClassVar[int] = 3
    PLACES: ClassVar[int] = 2

    def __post_init__(self) -> None:
        assert int(self.source.min()) >= -1 and int(self.source.max()) < self.block_beats, self.block_beats

    @property
    def inputs(self) -> tuple[Beat, ...]:
        return (self.beat,)

    @property
    def outputs(self) -> tuple[Beat, ...]:
        return (self.beat,)

    @property
    def has_zeros(self) -> bool:
        return bool((self.source < 0).any())

    def timing(self) -> tuple[Process, ...]:
        return (self._writer(), self._reader())

    def _writer(self) -> Process:
        steps = self.blocks * self.block_beats
        block = np.arange(self.blocks, dtype=np.int64)
        waits = np.full(steps, NEVER, np.int64)
        waits[:: self.block_beats] = (block - self.PLACES + 1) * len(self.source) - 1
        return Process(steps, ((0, every(steps)),), waits=(Wait(1, waits, self.RELEASE_DELAY),), name="writer")

    def _reader(self) -> Process:
        size = len(self.source)
        waits: Steps = np.full(self.blocks * size, NEVER, np.int64)
        waits[::size] = (np.arange(self.blocks, dtype=np.int64) + 1) * self.block_beats - 1
        pushes = np.arange(self.blocks * size, dtype=np.int64)
        output = OutputTiming(pushes, self.LATENCY)
        return Process(len(pushes), outputs=((0, output),), waits=(Wait(0, waits, 1),), name="reader")


@dataclass(frozen=True)
class ConcatStreams(Unit):
    """Takes `parts[p]` beats from input p, input after input, `rounds` times an image."""

    kind: ClassVar[str] = "concat"
    beat: Beat
    parts: tuple[int, ...]
    rounds: int

    @property
    def inputs(self) -> tuple[Beat, ...]:
        return (self.beat,) * len(self.parts)

    @property
    def outputs(self) -> tuple[Beat, ...]:
        return (self.beat,)

    def timing(self) -> tuple[Process, ...]:
        steps = self.rounds * sum(self.parts)
        port = np.tile(np.repeat(np.arange(len(self.parts)), self.parts), self.rounds)
        inputs = []
        for number in range(len(self.parts)):
            taken = np.flatnonzero(port == number)
            needs = np.full(steps, NEVER, np.int64)
            needs[taken] = np.arange(len(taken))
            inputs.append((number, InputTiming(needs, taken)))
        return (Process(steps, tuple(inputs), ((0, OutputTiming(every(steps).pops, 0)),)),)
