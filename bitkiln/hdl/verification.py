"""What a verification is asked for and what it finds; plain data, so that the base install can read project files."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from bitkiln.ir import fail


class RtlSimulator(Enum):
    """What runs the RTL: the compiled harness (CXXRTL), cocotb on Verilator or Icarus, or Amaranth's own simulator."""

    COMPILED = "compiled"
    COCOTB = "cocotb"
    ICARUS = "icarus"
    AMARANTH = "amaranth"


class Level(Enum):
    """How far down the design is verified: as generated, as synthesised, as routed, or as the bits of the bitstream.

    IP is the RTL again, behind its AXI ports.
    """

    RTL = "rtl"
    IP = "ip"
    NETLIST = "netlist"
    ROUTED = "routed"
    BITSTREAM = "bitstream"


@dataclass(frozen=True)
class VerifyOptions:
    """How many test images run, on which simulator, and whether they run again under random back-pressure."""

    images: int = 200
    simulator: RtlSimulator = RtlSimulator.COMPILED
    back_pressure: bool = True
    seed: int = 1

    def __post_init__(self) -> None:
        if self.images < 2:
            raise fail("bad-value", f"images must be at least 2 (an interval needs two), not {self.images}")
        if not 1 <= self.seed < 1 << 32:
            raise fail("bad-value", f"seed must be between 1 and 2**32 - 1, not {self.seed}")


@dataclass(frozen=True)
class Verification:
    """The RTL against golden model and prediction.

    `mismatches` counts output beats with wrong bits over all runs, `cycle_mismatches` output beats in another cycle
    than predicted, in the run without back-pressure. The intervals are those of the last two images. `cycles` is how
    many that run took. Below the RTL `cycle_mismatches` counts images with another latency, and there are no intervals.
    """

    images: int
    mismatches: int
    cycle_mismatches: int
    rtl_latency: int
    rtl_interval: int
    predicted_latency: int
    predicted_interval: int
    simulator: RtlSimulator
    back_pressure_images: int
    cycles: int
    findings: str
    level: Level = Level.RTL

    @property
    def is_exact(self) -> bool:
        """True if every bit and every cycle was as predicted."""
        return self.mismatches == 0 and self.cycle_mismatches == 0
