"""How long tiles take: on the array, on the ports of the memories, and on the way from and to DRAM."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ._orders import Ordered, Real, moved, transitions
from ._tiles import Setting, Tilings, Whole
from .accelerator import Dram, Operand


@dataclass(frozen=True, eq=False)
class OnChip:
    """What an engine makes of a layer's tiles.

    `cycles` are those of computing all of them, `bits` what the array reads from and writes to the memory of each
    operand. In one piece the layer takes `fewest_cycles`.
    """

    cycles: Callable[[Tilings], Whole]
    bits: Callable[[Tilings], dict[Operand, tuple[Whole, Whole]]]
    fewest_cycles: int


@dataclass(frozen=True, eq=False)
class Cycles:
    """Cycles of each tiling by what they are spent on: see `Tiling`."""

    compute: Real
    first: Real
    last: Real
    waiting: Real
    ports: Real

    @property
    def total(self) -> Real:
        return self.compute + self.first + self.last + self.waiting + self.ports

    def take(self, index: int) -> tuple[int, int, int, int, int]:
        """One tiling, in whole cycles: their sum is the sum rounded up. In the order of the fields."""
        parts = (self.compute, self.first, self.waiting, self.ports, self.last)
        ends = np.ceil(np.cumsum([float(part[index]) for part in parts]) - 1e-6)
        compute, first, waiting, ports, last = (int(part) for part in np.diff(ends, prepend=0.0))
        return compute, first, last, waiting, ports


def cycles_of(setting: Setting, found: Ordered, array: OnChip) -> Cycles:
    """Return the time of the pipeline of loading, computing and storing: a step waits for the slower of its halves.

    A step computes on one tile while the next one's operands come in and finished outputs leave; memories without
    double buffering are filled in between. Tiles count as equally large.
    """
    accelerator, tiles = setting.accelerator, found.tilings
    group_tiles = -(-setting.layer.groups // tiles.groups)
    load, write = _transfers(setting, found, group_tiles)
    latency = float(accelerator.cycles(accelerator.dram.latency_ns))
    busy = array.cycles(tiles).astype(np.float64)
    steps = tiles.position_tiles * tiles.filter_tiles * tiles.channel_tiles * group_tiles
    waiting = np.zeros(len(busy))
    for count, changed in transitions(found, group_tiles):
        hidden, bare = np.zeros(len(busy)), np.zeros(len(busy))
        for operand in Operand:
            sram = accelerator.memory(operand)
            part = load[operand] * changed[operand]
            if sram is not None and sram.is_double_buffered:
                hidden = hidden + part
            else:
                bare = bare + part + latency * (part > 0)
        waiting = waiting + count * (np.maximum(hidden - busy / steps, 0) + bare)
    first = load[Operand.WEIGHTS] + load[Operand.ACTIVATIONS] + latency
    ports = np.maximum(_port_cycles(setting, found, array) - busy - waiting, 0)
    return Cycles(busy, first, write, waiting, ports)


def _transfers(setting: Setting, found: Ordered, group_tiles: Whole) -> tuple[dict[Operand, Real], Real]:
    """Cycles on the link to DRAM for one tile of each operand, and for the outputs that leave from one."""
    values, widths = moved(setting, found), setting.widths

    def time(bits: Real, loads: Whole) -> Real:
        accelerator = setting.accelerator
        return transfer_cycles(bits / (loads * group_tiles), accelerator.dram, accelerator.clock_hz)

    write = time(values.outputs * widths.output + values.spills * widths.accumulator, found.output_visits)
    load = {
        Operand.WEIGHTS: time(values.weights * widths.weight, found.weight_loads),
        Operand.ACTIVATIONS: time(values.activations * widths.activation, found.activation_loads),
        Operand.OUTPUTS: time(values.spills * widths.accumulator, found.output_visits) + write,
    }
    return load, write


def transfer_cycles(bits: Real, dram: Dram, clock_hz: float) -> Real:
    """Return the cycles to move stretches of `bits` each: whole bursts, and an opening for every row they touch."""
    count = np.ceil(bits / 8)
    bursts, rows = np.ceil(count / dram.burst_bytes), np.ceil(count / dram.row_bytes)
    seconds = bursts * dram.burst_bytes / dram.bytes_per_second
    rest = np.maximum(bursts - rows, 0)
    cycles: Real = (seconds + (rows * dram.row_miss_ns + rest * dram.row_hit_ns) * 1e-9) * clock_hz
    return cycles


def _port_cycles(setting: Setting, found: Ordered, array: OnChip) -> Real:
    """Cycles that the busiest memory's ports need: for the array, and for what comes from DRAM and goes there."""
    values, widths, layer = moved(setting, found), setting.widths, setting.layer
    bits = array.bits(found.tilings)
    kept = layer.output_count * widths.output if setting.resident.has_output else 0
    fills = {
        Operand.WEIGHTS: values.weights * widths.weight,
        Operand.ACTIVATIONS: values.activations * widths.activation + kept,
        Operand.OUTPUTS: (layer.output_count + 2 * values.spills) * widths.accumulator,
    }
    needed = [
        np.ceil(sum(sum(bits[operand]) + fills[operand] for operand in sram.holds) / sram.bits_per_cycle)
        for sram in setting.accelerator.sram
    ]
    busiest: Real = np.max(needed, axis=0)
    return busiest
