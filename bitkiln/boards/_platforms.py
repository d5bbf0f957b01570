"""Boards that amaranth-boards lacks: pins and clocks, from the boards' own documentation.

Imports amaranth, so it is loaded only when a design is built (`Board.platform_class`).
"""

from __future__ import annotations

from typing import ClassVar

from amaranth.build import Attrs, Clock, Pins, Resource
from amaranth.vendor import GowinPlatform, LatticeECP5Platform
from amaranth_boards.resources import UARTResource


class ColorlightI5Platform(LatticeECP5Platform):
    """ColorLight i5 v7.0; pins from https://github.com/wuxx/Colorlight-FPGA-Projects."""

    device = "LFE5U-25F"
    package = "BG381"
    speed = "6"
    default_clk = "clk25"
    resources: ClassVar = [
        Resource("clk25", 0, Pins("P3", dir="i"), Clock(25e6), Attrs(IO_TYPE="LVCMOS33")),
        UARTResource(0, rx="H18", tx="J17", attrs=Attrs(IO_TYPE="LVCMOS33")),
    ]
    connectors: ClassVar[list[Resource]] = []


class TangNano20KPlatform(GowinPlatform):
    """Tang Nano 20K; pins from https://wiki.sipeed.com/hardware/en/tang/tang-nano-20k/nano-20k.html."""

    part = "GW2AR-LV18QN88C8/I7"
    family = "GW2AR-18C"
    _chipdb_device = "GW2A-18C"  # the same die; the R is for the SDRAM in the package
    default_clk = "clk27"
    resources: ClassVar = [
        Resource("clk27", 0, Pins("4", dir="i"), Clock(27e6), Attrs(IO_TYPE="LVCMOS33")),
        UARTResource(0, rx="70", tx="69", attrs=Attrs(PULL_MODE="UP", IO_TYPE="LVCMOS33")),
    ]
    connectors: ClassVar[list[Resource]] = []
