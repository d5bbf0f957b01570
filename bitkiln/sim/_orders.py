"""Loops over tiles, in every order: which operand's tile is fetched how often, and what moves because of it.

An operand is fetched again whenever a loop changes its tile, so the traffic of a loop order follows from the numbers of
tiles. All tilings are evaluated at once, as arrays.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from ._tiles import Setting, Tilings, Whole
from .accelerator import Operand

Real = NDArray[np.float64]


class Loop(Enum):
    """What the loops over tiles walk along."""

    POSITIONS = "positions"
    FILTERS = "filters"
    CHANNELS = "channels"


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


@dataclass(frozen=True, eq=False)
class Ordered:
    """Tilings in loop orders: `loads` are how many tiles of an operand are fetched (outputs: visited).

    Either all orders of all tilings, the orders in an axis in front, or some tilings each in one order.
    """

    tilings: Tilings
    order: Whole
    weight_loads: Whole
    activation_loads: Whole
    output_visits: Whole

    def take(self, orders: Whole, index: Whole) -> Ordered:
        """Some of all orders of all tilings."""
        loads = (self.weight_loads, self.activation_loads, self.output_visits)
        return Ordered(self.tilings.take(index), orders, *(part[orders, index] for part in loads))

    def at(self, index: int) -> Ordered:
        """One of some tilings."""
        one = np.array([index])
        loads = (self.weight_loads, self.activation_loads, self.output_visits)
        return Ordered(self.tilings.take(one), self.order[one], *(part[one] for part in loads))

    @property
    def output_tiles(self) -> Whole:
        return self.tilings.position_tiles * self.tilings.filter_tiles


def _trips(tilings: Tilings) -> Whole:
    """Trips of the loops in the order of `Loop`: an axis in front."""
    return np.stack((tilings.position_tiles, tilings.filter_tiles, tilings.channel_tiles))


def all_orders(found: Tilings) -> Ordered:
    """Return all tilings in all orders: orders in the axis in front."""
    trips = _trips(found)[_LOOPS]
    one = trips[:, 0]
    two = one * trips[:, 1]
    three = two * trips[:, 2]
    moves = trips > 1
    loads = []
    for operand in Operand:  # all trips down to the innermost loop that changes the operand's tile
        changes = _CHANGE[operand][_LOOPS][:, :, None] & moves
        outer = np.where(changes[:, 0], one, 1)
        loads.append(np.where(changes[:, 2], three, np.where(changes[:, 1], two, outer)))
    order = np.broadcast_to(np.arange(len(ORDERS))[:, None], one.shape)
    return Ordered(found, order, *loads)


@dataclass(frozen=True, eq=False)
class Values:
    """Values moved between DRAM and the chip for each tiling; `spills` are partial sums written, and read again."""

    weights: Real
    activations: Real
    outputs: Real
    spills: Real


def moved(setting: Setting, found: Ordered) -> Values:
    """Return what moves between DRAM and the chip."""
    layer, tiles = setting.layer, found.tilings
    weight_share: Real = found.weight_loads / (tiles.filter_tiles * tiles.channel_tiles)
    inputs = layer.channels * tiles.cuts.all_inputs
    input_share: Real = found.activation_loads / (tiles.position_tiles * tiles.channel_tiles)
    spills = layer.output_count * (found.output_visits / found.output_tiles - 1)
    outputs = np.full(spills.shape, 0.0 if setting.resident.has_output else float(layer.output_count))
    weights = 0 if setting.resident.has_weights else layer.weight_count
    inputs = 0 * inputs if setting.resident.has_input else inputs
    return Values(weights * weight_share, inputs * input_share, outputs, spills)


Changed = dict[Operand, NDArray[np.bool_]]
"""Whose tile is another one after a step."""


def transitions(found: Ordered, group_tiles: Whole) -> list[tuple[Whole, Changed]]:
    """Return changes from a tile to the next by the outermost loop that moves: how often, and what changes with it."""
    every = np.arange(len(found.order))
    loops = _LOOPS[found.order]
    trips = _trips(found.tilings)
    outer, middle, inner = (trips[loops[:, depth], every] for depth in range(3))
    relevant = {operand: _CHANGE[operand][loops].T for operand in Operand}
    result: list[tuple[Whole, Changed]] = []
    changed = {operand: relevant[operand][2] & (inner > 1) for operand in Operand}
    result.append((outer * middle * (inner - 1) * group_tiles, changed))
    changed = {operand: changed[operand] | (relevant[operand][1] & (middle > 1)) for operand in Operand}
    result.append((outer * (middle - 1) * group_tiles, changed))
    changed = {operand: changed[operand] | (relevant[operand][0] & (outer > 1)) for operand in Operand}
    result.append(((outer - 1) * group_tiles, changed))
    result.append((group_tiles - 1, {operand: np.ones(len(every), bool) for operand in Operand}))
    return result
