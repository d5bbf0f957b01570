"""The coupled groups of a graph, to look at before anything is cut: layers whose channels go together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bitkiln.ir import Graph

from ._channels import Channels, Role, Slot
from ._units import PINNED


@dataclass(frozen=True)
class Member:
    """For each channel of the group, `count` indices along `axis` of the constant `const`, which `node` reads."""

    node: str
    const: str
    axis: int
    role: Role
    count: int

    def __str__(self) -> str:
        times = f" x{self.count}" if self.count > 1 else ""
        return f"{self.role.value:<7} {self.const} axis {self.axis}{times}"


@dataclass(frozen=True)
class ChannelGroup:
    """Channels with the same members: each of `units` is cut from all of them or from none.

    `name` is the first layer that makes the channels, with a number where several groups begin there.
    """

    name: str
    units: tuple[int, ...]
    members: tuple[Member, ...]

    @property
    def size(self) -> int:
        """How many channels can be cut one by one."""
        return len(self.units)

    @property
    def makers(self) -> tuple[str, ...]:
        """Layers whose filters or neurons these are, in the graph's order."""
        return tuple(dict.fromkeys(member.node for member in self.members if member.role in (Role.MAKES, Role.PASSES)))

    def __str__(self) -> str:
        return "\n".join([f"{self.name}: {self.size} channels", *(f"  {member}" for member in self.members)])


def groups(graph: Graph) -> tuple[ChannelGroup, ...]:
    """Return the groups that can be cut, in the graph's order: of more than one channel, and made by some layer."""
    return channel_groups(Channels.of(graph))


def channel_groups(channels: Channels) -> tuple[ChannelGroup, ...]:
    """Return the groups of channels that were found already."""
    footprint: dict[int, list[tuple[Slot, int]]] = {}
    for slot in channels.slots:
        units, counts = np.unique(channels.units.find(slot.labels), return_counts=True)
        for unit, count in zip(units.tolist(), counts.tolist(), strict=True):
            footprint.setdefault(unit, []).append((slot, count))
    footprint.pop(PINNED, None)
    alike: dict[tuple[Member, ...], list[int]] = {}
    for unit, found in sorted(footprint.items()):
        members = tuple(Member(slot.node.name, slot.const, slot.axis, slot.role, count) for slot, count in found)
        if any(member.role is Role.MAKES for member in members):
            alike.setdefault(members, []).append(unit)
    named: list[ChannelGroup] = []
    taken: dict[str, int] = {}
    for members, units_ in alike.items():
        if len(units_) > 1:
            first = next(member.node for member in members if member.role is Role.MAKES)
            taken[first] = taken.get(first, 0) + 1
            name = first if taken[first] == 1 else f"{first}#{taken[first]}"
            named.append(ChannelGroup(name, tuple(units_), members))
    return tuple(named)
