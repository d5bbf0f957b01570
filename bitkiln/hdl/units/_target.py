"""Whose cells a unit may name: those of the device that it is elaborated for, none where it is simulated."""

from __future__ import annotations

from enum import Enum

from amaranth.vendor import LatticePlatform, SiliconBluePlatform


class Target(Enum):
    """PLAIN has no cells of its own; every unit has a form for it, which behaves like the others."""

    PLAIN = "plain"
    ICE40 = "ice40"
    ECP5 = "ecp5"

    @classmethod
    def of(cls, platform: object) -> Target:
        """Return the family of amaranth's platform, which is None in simulation."""
        if isinstance(platform, SiliconBluePlatform):
            return cls.ICE40
        if isinstance(platform, LatticePlatform) and platform.family == "ecp5":
            return cls.ECP5
        return cls.PLAIN
