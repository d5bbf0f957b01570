"""The Plan: which unit computes which node, joined by streams. Simulator, RTL, HLS and report read the same Plan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from .diagnostics import Location
from .graph import Graph
from .units import Beat, Unit

REGISTER_QUEUE_DEPTH = 4


@dataclass(frozen=True)
class Stream:
    """A queue between two units: `beats` transfers an image, room for `depth` of them (in flight ones included)."""

    name: str
    beat: Beat
    beats: int
    depth: int

    @property
    def is_memory(self) -> bool:
        """True if the queue is a memory (a beat is visible two cycles after it enters), else registers (one cycle)."""
        return self.depth > REGISTER_QUEUE_DEPTH

    @property
    def latency(self) -> int:
        """Cycles from entering the queue to being visible at its end."""
        return 2 if self.is_memory else 1


@dataclass(frozen=True, eq=False)
class Stage:
    """One unit in its place: the streams at its ports and the node of the graph whose value it gives."""

    name: str
    unit: Unit
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    node: str
    loc: Location = Location()


@dataclass(frozen=True, eq=False)
class Plan:
    """Stages in topological order.

    `input_order[i]` is the flat index (in the graph's layout, without the batch axis) of the i-th element that is
    streamed in; `output_order` likewise for the result. `input_value` and `output_value` are the graph's values whose
    codes go in and come out; what the graph does before and after them is the host's.
    """

    graph: Graph
    stages: tuple[Stage, ...]
    streams: tuple[Stream, ...]
    input_value: str
    output_value: str
    input_stream: str
    output_stream: str
    input_order: NDArray[np.int64] = field(repr=False)
    output_order: NDArray[np.int64] = field(repr=False)
    clock_hz: float

    @cached_property
    def stream(self) -> Mapping[str, Stream]:
        return {stream.name: stream for stream in self.streams}

    @cached_property
    def producer(self) -> Mapping[str, tuple[int, int]]:
        """(stage, output port) of each stream but the input."""
        return {name: (i, port) for i, stage in enumerate(self.stages) for port, name in enumerate(stage.outputs)}

    @cached_property
    def consumer(self) -> Mapping[str, tuple[int, int]]:
        """(stage, input port) of each stream but the output."""
        return {name: (i, port) for i, stage in enumerate(self.stages) for port, name in enumerate(stage.inputs)}

    @property
    def multipliers(self) -> int:
        """Products of two numbers that are made in parallel."""
        return sum(stage.unit.multipliers for stage in self.stages)

    @property
    def dsp_blocks(self) -> int:
        """Multiplier blocks for these."""
        return sum(stage.unit.dsp_blocks for stage in self.stages)
