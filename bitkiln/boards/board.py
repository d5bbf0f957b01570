"""What a board is: data only, so that adding one is adding a file.

The pins come from amaranth-boards, named by class path and loaded when a design is built: listing boards
needs no hardware package.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any, assert_never

from bitkiln.ir.units import DspBlock

from .pll import Pll


class Family(Enum):
    """Which tools build for the device."""

    ICE40 = "ice40"
    ECP5 = "ecp5"
    GOWIN = "gowin"


class Resource(Enum):
    """What a design uses up.

    A LUT is one logic cell: on iCE40 a LUT4 with its flip-flop and carry, on ECP5 and Gowin a LUT4. A BRAM is one
    block of the family: 4 kbit on iCE40, 18 kbit on ECP5 and Gowin. A DSP is one multiplier, up to 16 x 16 on iCE40,
    18 x 18 on ECP5 and 9 x 9 on Gowin, where one of 18 x 18 takes two. An SPRAM holds 256 kbit.
    """

    LUT = "lut"
    FF = "ff"
    BRAM = "bram"
    DSP = "dsp"
    SPRAM = "spram"


@dataclass(frozen=True)
class Resources:
    """A number of each kind: what a device has, or what a design uses.

    >>> Resources(lut=120, ff=64).fits(Resources(lut=5280, ff=5280))
    True
    """

    lut: int = 0
    ff: int = 0
    bram: int = 0
    dsp: int = 0
    spram: int = 0

    def __post_init__(self) -> None:
        for kind, count in self:
            assert count >= 0, f"there cannot be {count} {kind.value}"

    def __iter__(self) -> Iterator[tuple[Resource, int]]:
        yield Resource.LUT, self.lut
        yield Resource.FF, self.ff
        yield Resource.BRAM, self.bram
        yield Resource.DSP, self.dsp
        yield Resource.SPRAM, self.spram

    def __getitem__(self, kind: Resource) -> int:
        return dict(self)[kind]

    def fits(self, available: Resources) -> bool:
        """Whether there is at least as much of each kind in `available`."""
        return not self.missing(available)

    def missing(self, available: Resources) -> tuple[Resource, ...]:
        """Return the kinds of which `available` has too few."""
        return tuple(kind for kind, count in self if count > available[kind])


class Loader(Enum):
    """What writes a bitstream into a board."""

    OPENFPGALOADER = "openFPGALoader"
    ICEPROG = "iceprog"
    TINYPROG = "tinyprog"
    FUJPROG = "fujprog"
    DFU_UTIL = "dfu-util"


@dataclass(frozen=True)
class SerialPins:
    """Two pins of a header; `attribute` and `level` are the family's way to say 3.3 V."""

    rx: str
    tx: str
    attribute: str
    level: str


@dataclass(frozen=True)
class Board:
    """A development board.

    `device`, `package` and `speed` are nextpnr's names ("up5k", "sg48"; iCE40 has its speed in the device's
    name). Gowin's `device` is the whole part number, and `chip` the one whose database it takes. `platform_class` is
    the amaranth-boards class as "module:class"; `uart` is the number of its UART resource, which runs at `baud`.
    `clock_hz` is the clock that the design gets. `loaders` can write its flash, the best first; `loader_name` is
    openFPGALoader's name of the board. `serial` are the pins of a serial port that the platform class does not have,
    for an adapter of the user's; `clock` names another clock than the class's own. With `has_pll_pad` the clock's pin
    is that of iCE40's PLL. `pll` makes `clock_hz` of the board's clock; a board as listed has none (`boards.clocks`).
    """

    name: str
    title: str
    family: Family
    device: str
    package: str
    speed: str
    clock_hz: int
    resources: Resources
    platform_class: str
    uart: int
    baud: int
    loaders: tuple[Loader, ...]
    loader_name: str
    source: str
    serial: SerialPins | None = None
    clock: str = ""
    chip: str = ""
    has_pll_pad: bool = False
    pll: Pll | None = None

    @property
    def dsp_block(self) -> DspBlock | None:
        """What its multiplier blocks can do beside one product, None where that is all (Gowin) or there are none."""
        if not self.resources.dsp:
            return None
        match self.family:
            case Family.ICE40:
                return DspBlock.MAC16
            case Family.ECP5:
                return DspBlock.MULT18
            case Family.GOWIN:
                return None
            case _ as unreachable:
                assert_never(unreachable)

    @property
    def nextpnr_arguments(self) -> tuple[str, ...]:
        """The options that name the device to nextpnr."""
        if self.family is Family.GOWIN:
            return ("--device", self.device, "--vopt", f"family={self.chip}")
        speed = ("--speed", self.speed) if self.speed else ()
        return (f"--{self.device}", "--package", self.package, *speed)

    def platform(self) -> Any:
        """Return a new amaranth platform; each serves for one build."""
        module, _, name = self.platform_class.partition(":")
        platform = getattr(importlib.import_module(module), name)()
        if self.clock:
            platform.default_clk = self.clock
        if self.serial:
            resources = importlib.import_module("amaranth_boards.resources")
            build = importlib.import_module("amaranth.build")
            attributes = build.Attrs(**{self.serial.attribute: self.serial.level})
            pins = {"rx": self.serial.rx, "tx": self.serial.tx}
            platform.add_resources([resources.UARTResource(self.uart, **pins, attrs=attributes)])
        return platform
