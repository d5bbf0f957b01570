"""How a layer is cut into tiles that fit on the chip, and in which order: an exact search for the least cost.

Three loops walk over the tiles of positions, filters and channels. Traffic never grows with the channels of a tile, so
it is compared with the largest number that fits; of rows, images and filters all sizes are tried that differ in the
number of tiles, and whole folds of the array. Among tilings of equal cost fewer channels are tried as well, since the
first tile is there sooner then. All candidates are evaluated at once, as arrays.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from bitkiln.ir import ToolError

from ._orders import ORDERS, Loop, Ordered, Real, all_orders, moved
from ._tile_time import OnChip, cycles_of
from ._tiles import LEAST_SHARE, Setting, Tilings, tilings, with_fewer_channels
from .accelerator import Operand
from .technology import Technology


class Objective(Enum):
    """What a tiling is chosen for; of equally good ones the one with the fewest cycles is taken."""

    TRAFFIC = "traffic"
    ENERGY = "energy"
    CYCLES = "cycles"


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
    `waiting_cycles` on tiles that are late in between, `port_cycles` on a memory whose ports cannot move what the array
    and the tiles need in the meantime. `compute_cycles` are those of the tiles, which can be more than those of the
    layer in one piece. `tilings` is the tiling as arrays of one element.
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
    port_cycles: int
    tilings: Tilings
    cost: float

    @property
    def cycles(self) -> int:
        return self.compute_cycles + self.first_cycles + self.last_cycles + self.waiting_cycles + self.port_cycles


def best_tiling(setting: Setting, array: OnChip, tuning: Tuning = LEAST_TRAFFIC) -> Tiling:
    """Return the tiling of least cost. Raises `sram-too-small` if there is none.

    Tilings with which the array computes at less than `LEAST_SHARE` of the speed that the fastest one has are left out:
    the least traffic would be that of tiles that leave most of the array empty. For the fewest cycles all are compared.
    """
    tiles = tilings(setting)
    if tuning.objective is Objective.CYCLES:
        found = _fastest(setting, tiles, array)
    else:
        found = _cheapest(setting, tiles, array, tuning)
    cycles = cycles_of(setting, found, array)
    total = cycles.total
    best = int(np.argmin(total))
    one = found.at(best)
    cost = float(total[best]) if tuning.objective is Objective.CYCLES else float(_cost(setting, one, array, tuning)[0])
    return _result(setting, one, cycles.take(best), cost)


def better_tiling(
    ways: Sequence[tuple[Setting, OnChip]], tuning: Tuning = LEAST_TRAFFIC
) -> tuple[Setting, OnChip, Tiling]:
    """Return the way to cut a layer that costs the least, of equal ones the fastest, with its best tiling.

    Raises `sram-too-small` for the last way if none fits.
    """
    found: list[tuple[Setting, OnChip, Tiling]] = []
    for number, (setting, array) in enumerate(ways, 1):
        try:
            found.append((setting, array, best_tiling(setting, array, tuning)))
        except ToolError:  # which can only be that this way fits nowhere
            if number == len(ways) and not found:
                raise
    return min(found, key=lambda way: (way[2].cost, way[2].cycles))


def _fastest(setting: Setting, tiles: Tilings, array: OnChip) -> Ordered:
    """All tilings that compute in less time than the best with the most channels takes in all."""
    first = all_orders(tiles)
    first = first.take(*np.nonzero(_allowed(setting, first)))
    least = cycles_of(setting, first, array).total.min()
    more = with_fewer_channels(setting, tiles)
    every = all_orders(more.take(np.flatnonzero(array.cycles(more) <= least)))
    return every.take(*np.nonzero(_allowed(setting, every)))


def _cheapest(setting: Setting, tiles: Tilings, array: OnChip, tuning: Tuning) -> Ordered:
    """All tilings of the least cost; those with fewer channels than fit never cost less."""
    busy = array.cycles(tiles)
    limit = max(array.fewest_cycles, busy.min()) / LEAST_SHARE
    tiles = tiles.take(np.flatnonzero(busy <= limit))
    first = all_orders(tiles)
    costs = _costs(setting, first, array, tuning)
    least = costs.min() * (1 + 1e-12)
    more = with_fewer_channels(setting, tiles.take(np.flatnonzero((costs <= least).any(axis=0))))
    every = all_orders(more.take(np.flatnonzero(array.cycles(more) <= limit)))
    return every.take(*np.nonzero(_costs(setting, every, array, tuning) <= least))


def _allowed(setting: Setting, found: Ordered) -> NDArray[np.bool_]:
    """Where partial sums never leave, if the output stays on the chip."""
    if setting.resident.has_output:
        return np.asarray(found.output_visits == found.output_tiles)
    return np.ones(found.order.shape, bool)


def _costs(setting: Setting, found: Ordered, array: OnChip, tuning: Tuning) -> Real:
    """The cost of what is allowed, infinite for the rest."""
    return np.where(_allowed(setting, found), _cost(setting, found, array, tuning), np.inf)


def _cost(setting: Setting, found: Ordered, array: OnChip, tuning: Tuning) -> Real:
    """Bits that move between DRAM and the chip, or the energy of DRAM and the memories on the chip."""
    values, widths = moved(setting, found), setting.widths
    into = {
        Operand.WEIGHTS: values.weights * widths.weight,
        Operand.ACTIVATIONS: values.activations * widths.activation,
        Operand.OUTPUTS: values.spills * widths.accumulator,
    }
    leaving = values.outputs * widths.output + values.spills * widths.accumulator
    moving: Real = sum(into.values(), leaving)
    if tuning.objective is not Objective.ENERGY:
        return moving
    technology = tuning.technology
    assert technology is not None, "checked by Tuning"
    cost = moving * technology.dram.pj_per_bit
    for operand, (read, written) in array.bits(found.tilings).items():
        sram = setting.accelerator.memory(operand)
        assert sram is not None, "checked by require_memories"
        drained = (values.outputs + values.spills) * widths.accumulator if operand is Operand.OUTPUTS else 0
        cost = cost + (written + into[operand]) * technology.sram_write_pj_per_bit(sram.bank_bits)
        cost = cost + (read + drained) * technology.sram_pj_per_bit(sram.bank_bits)
    return cost


def _result(setting: Setting, found: Ordered, cycles: tuple[int, int, int, int, int], cost: float) -> Tiling:
    tiles, values = found.tilings, moved(setting, found)
    compute, first, last, waiting, ports = cycles
    spills = round(float(values.spills[0]))
    return Tiling(
        tile=Tile(
            images=int(tiles.cuts.images[0]),
            rows=int(tiles.cuts.rows[0]),
            filters=int(tiles.filters[0]),
            channels=int(tiles.channels[0]),
            groups=int(tiles.groups[0]),
            order=ORDERS[int(found.order[0])],
        ),
        weight_reads=round(float(values.weights[0])),
        activation_reads=round(float(values.activations[0])),
        output_writes=round(float(values.outputs[0])),
        partial_writes=spills,
        partial_reads=spills,
        compute_cycles=compute,
        first_cycles=first,
        last_cycles=last,
        waiting_cycles=waiting,
        port_cycles=ports,
        tilings=tiles,
        cost=cost,
    )
