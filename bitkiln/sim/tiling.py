"""How a layer is cut into tiles that fit on the chip, and in which order: an exact search for the least cost.

Three loops walk over the tiles of positions, filters and channels. An operand is fetched again whenever a loop changes
its tile, so the traffic of each loop order follows from the numbers of tiles. Traffic never grows with the channels of
a tile, so their number is the largest that fits; of rows, images and filters all sizes are tried that differ in the
number of tiles. All candidates are evaluated at once, as arrays.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from ._tiles import Setting, Tilings, Whole, tilings
from .accelerator import Dram, Operand
from .technology import Technology

Real = NDArray[np.float64]
Compute = Callable[[Tilings], Whole]
"""Compute cycles of a whole layer for each tiling."""


class Loop(Enum):
    """What the loops over tiles walk along."""

    POSITIONS = "positions"
    FILTERS = "filters"
    CHANNELS = "channels"


class Objective(Enum):
    """What a tiling is chosen for; of equally good ones the one with the fewest cycles is taken."""

    TRAFFIC = "traffic"
    ENERGY = "energy"
    CYCLES = "cycles"


ORDERS = tuple((outer, middle, inner) for outer, middle, inner in itertools.permutations(Loop))
"""Loop orders, the outermost loop first."""

_CHANGES = {
    Operand.WEIGHTS: (Loop.FILTERS, Loop.CHANNELS),
    Operand.ACTIVATIONS: (Loop.POSITIONS, Loop.CHANNELS),
    Operand.OUTPUTS: (Loop.POSITIONS, Loop.FILTERS),
}
"""Which loops change an operand's tile."""

_LOOPS = np.array([[list(Loop).index(loop) for loop in order] for order in ORDERS])
"""The loops of each order, as places in `Loop`."""
_CHANGE = {operand: np.array([loop in loops for loop in Loop]) for operand, loops in _CHANGES.items()}


@dataclass(frozen=True)
class Tuning:
    """What tilings are chosen for; `technology` prices the traffic if that is the energy."""

    objective: Objective = Objective.TRAFFIC
    technology: Technology | None = None

    def __post_init__(self) -> None:
        assert self.technology is not None or self.objective is not Objective.ENERGY, "energy needs prices"


LEAST_TRAFFIC = Tuning()


@dataclass(frozen=True)
class Tile:
    """The largest tile of a tiling, and its loops, the outermost first."""

    images: int
    rows: int
    filters: int
    channels: int
    groups: int
    order: tuple[Loop, Loop, Loop]

    def __str__(self) -> str:
        part = f"{self.images} images" if self.images > 1 else f"{self.rows} rows"
        groups = f" x {self.groups} groups" if self.groups > 1 else ""
        order = " > ".join(loop.value for loop in self.order)
        return f"{part} x {self.filters} filters x {self.channels} channels{groups}; {order}"


@dataclass(frozen=True, eq=False)
class Tiling:
    """The best tiling: traffic in values to and from DRAM, and cycles.

    Outputs leave once at their own width (`output_writes`, none if they stay), partial sums at the accumulator's.
    `first_cycles` and `last_cycles` are spent before the first tile is there and after the last one is computed,
    `waiting_cycles` on tiles that are late in between. `compute_cycles` are those of the tiles, which can be more than
    those of the layer in one piece. `tilings` is the tiling as arrays of one element.
    """

    tile: Tile
    weight_reads: int
    activation_reads: int
    output_writes: int
    partial_writes: int
    partial_reads: int
    compute_cycles: int
    first_cycles: int
    last_cycles: int
    waiting_cycles: int
    tilings: Tilings

    @property
    def cycles(self) -> int:
        return self.compute_cycles + self.first_cycles + self.last_cycles + self.waiting_cycles


@dataclass(frozen=True, eq=False)
class _Ordered:
    """Tilings in loop orders: `loads` are how many tiles of an operand are fetched (outputs: visited).

    Either all orders of all tilings, the orders in an axis in front, or some tilings each in one order.
    """

    tilings: Tilings
    order: Whole
    weight_loads: Whole
    activation_loads: Whole
    output_visits: Whole

    def take(self, orders: Whole, index: Whole) -> _Ordered:
        """Some of all orders of all tilings."""
        loads = (self.weight_loads, self.activation_loads, self.output_visits)
        return _Ordered(self.tilings.take(index), orders, *(part[orders, index] for part in loads))

    def at(self, index: int) -> _Ordered:
        """One of some tilings."""
        one = np.array([index])
        loads = (self.weight_loads, self.activation_loads, self.output_visits)
        return _Ordered(self.tilings.take(one), self.order[one], *(part[one] for part in loads))


def best_tiling(setting: Setting, compute: Compute, tuning: Tuning = LEAST_TRAFFIC) -> Tiling:
    """Return the tiling of least cost. Raises `sram-too-small` if there is none."""
    tiles = tilings(setting)
    found = _all_orders(tiles)
    allowed = np.ones(found.order.shape, bool)
    if setting.resident.has_output:  # partial sums never leave
        allowed = found.output_visits == _output_tiles(tiles)
    if tuning.objective is not Objective.CYCLES:
        cost = np.where(allowed, _cost(setting, found, tuning), np.inf)
        allowed = cost <= cost.min() * (1 + 1e-12)
    found = found.take(*np.nonzero(allowed))
    cycles = _cycles(setting, found, compute)
    best = int(np.argmin(cycles.total))
    return _result(setting, found.at(best), cycles.take(best))


def _trips(tilings_: Tilings) -> Whole:
    """Trips of the loops in the order of `Loop`: an axis in front."""
    return np.stack((tilings_.position_tiles, tilings_.filter_tiles, tilings_.channel_tiles))


def _all_orders(found: Tilings) -> _Ordered:
    """All tilings in all orders: orders in the axis in front."""
    trips = _trips(found)[_LOOPS]
    product = np.cumprod(trips, axis=1)
    loads = []
    for operand in Operand:
        fetched = np.ones_like(product[:, 0])
        for depth in range(len(Loop)):  # all trips down to the innermost loop that changes the operand's tile
            changes = _CHANGE[operand][_LOOPS[:, depth], None] & (trips[:, depth] > 1)
            fetched = np.where(changes, product[:, depth], fetched)
        loads.append(fetched)
    order = np.broadcast_to(np.arange(len(ORDERS))[:, None], loads[0].shape)
    return _Ordered(found, order, *loads)


def _output_tiles(found: Tilings) -> Whole:
    return found.position_tiles * found.filter_tiles


@dataclass(frozen=True, eq=False)
class _Values:
    """Values moved for each tiling."""

    weights: Real
    activations: Real
    outputs: Real
    spills: Real


def _moved(setting: Setting, found: _Ordered) -> _Values:
    layer, tiles = setting.layer, found.tilings
    weight_share: Real = found.weight_loads / (tiles.filter_tiles * tiles.channel_tiles)
    inputs = layer.channels * tiles.cuts.all_inputs
    input_share: Real = found.activation_loads / (tiles.position_tiles * tiles.channel_tiles)
    spills = layer.output_count * (found.output_visits / _output_tiles(tiles) - 1)
    outputs = np.full(spills.shape, 0.0 if setting.resident.has_output else float(layer.output_count))
    weights = 0 if setting.resident.has_weights else layer.weight_count
    inputs = 0 * inputs if setting.resident.has_input else inputs
    return _Values(weights * weight_share, inputs * input_share, outputs, spills)


def _cost(setting: Setting, found: _Ordered, tuning: Tuning) -> Real:
    """Bits, or energy, that move between DRAM and the chip."""
    moved, widths = _moved(setting, found), setting.widths
    parts = (
        (Operand.WEIGHTS, moved.weights * widths.weight, True),
        (Operand.ACTIVATIONS, moved.activations * widths.activation, True),
        (Operand.OUTPUTS, moved.spills * widths.accumulator, True),
        (Operand.OUTPUTS, moved.outputs * widths.output + moved.spills * widths.accumulator, False),
    )
    cost = np.zeros(found.order.shape)
    for operand, bits, is_filling in parts:
        cost = cost + bits * _price(setting, operand, tuning, is_filling)
    return cost


def _price(setting: Setting, operand: Operand, tuning: Tuning, is_filling: bool) -> float:
    """Price of a bit that goes from DRAM into the operand's memory, or from there to DRAM."""
    if tuning.objective is not Objective.ENERGY or tuning.technology is None:
        return 1.0
    technology, sram = tuning.technology, setting.accelerator.memory(operand)
    if sram is None:
        return technology.dram.pj_per_bit
    bits = sram.bank_bits
    on_chip = technology.sram_write_pj_per_bit(bits) if is_filling else technology.sram_pj_per_bit(bits)
    return technology.dram.pj_per_bit + on_chip


def transfer_cycles(bits: Real, dram: Dram, clock_hz: float) -> Real:
    """Return the cycles to move stretches of `bits` each: whole bursts, and an opening for every row they touch."""
    count = np.ceil(bits / 8)
    bursts, rows = np.ceil(count / dram.burst_bytes), np.ceil(count / dram.row_bytes)
    seconds = bursts * dram.burst_bytes / dram.bytes_per_second
    rest = np.maximum(bursts - rows, 0)
    cycles: Real = (seconds + (rows * dram.row_miss_ns + rest * dram.row_hit_ns) * 1e-9) * clock_hz
    return cycles


@dataclass(frozen=True, eq=False)
class _Cycles:
    """Cycles of each tiling by what they are spent on."""

    compute: Real
    first: Real
    last: Real
    waiting: Real

    @property
    def total(self) -> Real:
        return self.compute + self.first + self.last + self.waiting

    def take(self, index: int) -> tuple[int, int, int, int]:
        """One tiling, in whole cycles: their sum is the sum rounded up."""
        parts = (self.compute, self.first, self.waiting, self.last)
        ends = np.ceil(np.cumsum([float(part[index]) for part in parts]) - 1e-6)
        compute, first, waiting, last = (int(part) for part in np.diff(ends, prepend=0.0))
        return compute, first, last, waiting


def _cycles(setting: Setting, found: _Ordered, compute: Compute) -> _Cycles:
    """Time of the pipeline of loading, computing and storing: each step waits for the slower of its two halves.

    A step computes on one tile while the next one's operands come in and finished outputs leave; memories without
    double buffering are filled in between. Tiles count as equally large.
    """
    accelerator, tiles = setting.accelerator, found.tilings
    moved, widths = _moved(setting, found), setting.widths
    group_tiles = -(-setting.layer.groups // tiles.groups)
    clock = accelerator.clock_hz

    def time(bits: Real, loads: Whole) -> Real:
        return transfer_cycles(bits / (loads * group_tiles), accelerator.dram, clock)

    stored = moved.outputs * widths.output + moved.spills * widths.accumulator
    write = time(stored, found.output_visits)
    load = {
        Operand.WEIGHTS: time(moved.weights * widths.weight, found.weight_loads),
        Operand.ACTIVATIONS: time(moved.activations * widths.activation, found.activation_loads),
        Operand.OUTPUTS: time(moved.spills * widths.accumulator, found.output_visits) + write,
    }
    latency = float(accelerator.cycles(accelerator.dram.latency_ns))
    busy = compute(tiles).astype(np.float64)
    steps = tiles.position_tiles * tiles.filter_tiles * tiles.channel_tiles * group_tiles
    waiting = np.zeros(len(busy))
    for count, changed in _transitions(found, group_tiles):
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
    return _Cycles(busy, first, write, waiting)


def _transitions(found: _Ordered, group_tiles: Whole) -> list[tuple[Whole, dict[Operand, NDArray[np.bool_]]]]:
    """Changes from a tile to the next by the outermost loop that moves: how often, and whose tile changes with it."""
    every = np.arange(len(found.order))
    loops = _LOOPS[found.order]
    trips = _trips(found.tilings)
    outer, middle, inner = (trips[loops[:, depth], every] for depth in range(3))
    relevant = {operand: _CHANGE[operand][loops].T for operand in Operand}
    result: list[tuple[Whole, dict[Operand, NDArray[np.bool_]]]] = []
    changed = {operand: relevant[operand][2] & (inner > 1) for operand in Operand}
    result.append((outer * middle * (inner - 1) * group_tiles, changed))
    changed = {operand: changed[operand] | (relevant[operand][1] & (middle > 1)) for operand in Operand}
    result.append((outer * (middle - 1) * group_tiles, changed))
    changed = {operand: changed[operand] | (relevant[operand][0] & (outer > 1)) for operand in Operand}
    result.append(((outer - 1) * group_tiles, changed))
    result.append((group_tiles - 1, {operand: np.ones(len(every), bool) for operand in Operand}))
    return result


def _result(setting: Setting, found: _Ordered, cycles: tuple[int, int, int, int]) -> Tiling:
    tiles, moved = found.tilings, _moved(setting, found)
    compute, first, last, waiting = cycles
    spills = round(float(moved.spills[0]))
    return Tiling(
        tile=Tile(
            images=int(tiles.cuts.images[0]),
            rows=int(tiles.cuts.rows[0]),
            filters=int(tiles.filters[0]),
            channels=int(tiles.channels[0]),
            groups=int(tiles.groups[0]),
            order=ORDERS[int(found.order[0])],
        ),
        weight_reads=round(float(moved.weights[0])),
        activation_reads=round(float(moved.activations[0])),
        output_writes=round(float(moved.outputs[0])),
        partial_writes=spills,
        partial_reads=spills,
        compute_cycles=compute,
        first_cycles=first,
        last_cycles=last,
        waiting_cycles=waiting,
        tilings=tiles,
    )
