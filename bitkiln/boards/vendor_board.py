"""A board whose bitstream only its vendor's tool makes: bitkiln writes the project for it and runs nothing.

Data only, as `Board` is. Beside the device a project needs a processor's interfaces, or the pins of a serial port.
"""

from __future__ import annotations

from dataclasses import dataclass

from .board import Resources

_BRAM_BITS = 36 * 1024
_URAM_BITS = 288 * 1024


@dataclass(frozen=True)
class ProcessorSystem:
    """The processor beside the logic, as a block of Vivado's catalogue.

    `rule` and `rule_options` set it up for the board; `properties` turn on what we connect, `clock_property` is the
    logic's clock in MHz. `master` reaches our registers, `slave` the memory; the clock and reset pins go with them.
    """

    vlnv: str
    rule: str
    rule_options: str
    properties: tuple[tuple[str, str], ...]
    clock_property: str
    clock: str
    reset: str
    master: str
    master_clock: str
    slave: str
    slave_clock: str


@dataclass(frozen=True)
class SerialTop:
    """The pins of a top level with a serial port: clock, reset button (active low), and the port at `baud`."""

    clock: str
    reset_n: str
    rx: str
    tx: str
    standard: str
    baud: int


@dataclass(frozen=True)
class VendorBoard:
    """A board for Vivado; its projects are generated, not run.

    `part` and `board_part` are Vivado's names; `clock_hz` is the logic's clock by default, `max_clock_hz` what it can
    be set to, 0 if it is fixed. `resources` count LUT6, block RAMs of 36 kbit, and DSP slices; `uram` blocks hold 288
    kbit, and LUTs can hold `distributed_bits`.
    """

    name: str
    title: str
    part: str
    board_part: str
    clock_hz: int
    max_clock_hz: int
    resources: Resources
    uram: int
    distributed_bits: int
    host: ProcessorSystem | SerialTop
    source: str

    @property
    def memory_bits(self) -> int:
        """All bits that the device can hold in memories."""
        return self.resources.bram * _BRAM_BITS + self.uram * _URAM_BITS + self.distributed_bits
