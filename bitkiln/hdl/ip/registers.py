"""The registers of the block, one table for the hardware, the host program and the documentation.

All are 32 bits wide; addresses are bytes. An address without a register reads 0; writes to what cannot be written, and
bytes that are not strobed, change nothing. Every answer is OKAY: an error answer would end the program on a Zynq.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, IntFlag

from bitkiln.hdl.protocol import IDENTITY_BYTES

MAGIC = int.from_bytes(b"BKIP", "little")
WORD_BYTES = 4
ADDRESS_BITS = 8
IDENTITY_ADDRESS = 0x40
assert IDENTITY_ADDRESS + IDENTITY_BYTES <= 1 << ADDRESS_BITS and IDENTITY_BYTES % WORD_BYTES == 0


class Register(IntEnum):
    """The byte address of each register."""

    MAGIC = 0x00
    CONTROL = 0x04
    STATUS = 0x08
    IMAGES = 0x0C
    RESULTS = 0x10
    WRONG_PACKETS = 0x14
    LATENCY = 0x18
    INTERVAL = 0x1C


class Control(IntFlag):
    """The bits of CONTROL; they read as 0."""

    RESET = 1
    CLEAR_ERRORS = 2


class Status(IntFlag):
    """The bits of STATUS. The errors stay until CLEAR_ERRORS or RESET."""

    BUSY = 1
    EARLY_LAST = 2
    LATE_LAST = 4


@dataclass(frozen=True)
class Meaning:
    """What a register holds, for people; `access` is "r" or "w"."""

    register: Register
    access: str
    what: str


MEANINGS = (
    Meaning(Register.MAGIC, "r", "`BKIP`, 0x50494B42: this is a block of bitkiln"),
    Meaning(
        Register.CONTROL,
        "w",
        "bit 0 RESET: drop all images in flight, clear counters and errors; bit 1 CLEAR_ERRORS: clear the errors of "
        "STATUS and WRONG_PACKETS",
    ),
    Meaning(
        Register.STATUS,
        "r",
        "bit 0 BUSY: an image is in flight; bit 1 EARLY_LAST: tlast came before an image's last beat; bit 2 LATE_LAST: "
        "no tlast came with an image's last beat",
    ),
    Meaning(Register.IMAGES, "r", "images that went in whole, modulo 2^32"),
    Meaning(Register.RESULTS, "r", "results that came out whole, modulo 2^32"),
    Meaning(Register.WRONG_PACKETS, "r", "packets whose tlast was early or late, modulo 2^32"),
    Meaning(
        Register.LATENCY,
        "r",
        "cycles from the first beat in to the last beat out, both included, of the last image that came in while none "
        "was in flight; 0 before the first, 2^32 - 1 if there were more",
    ),
    Meaning(
        Register.INTERVAL,
        "r",
        "cycles between the last beats of the last two results; 0 before there are two, 2^32 - 1 if there were more",
    ),
)
