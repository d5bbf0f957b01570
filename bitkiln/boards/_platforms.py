"""Boards that amaranth-boards lacks: pins and clocks, from the boards' own documentation.

Imports amaranth, so it is loaded only when a design is built (`Board.platform_class`).
"""

from __future__ import annotations

from typing import ClassVar

from amaranth.build import Attrs, Clock, Pins, Resource
from amaranth.vendor import LatticeECP5Platform
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
