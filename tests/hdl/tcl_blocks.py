"""The blocks that our block designs are made of: interfaces, pins and parameters, by AMD's product guides.

PG021 (AXI DMA 7.1), PG082 (Zynq-7000 PS), PG201 (Zynq UltraScale+ PS), PG247 (SmartConnect), PG164 (reset).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

MASTER, SLAVE, IN, OUT = "master", "slave", "in", "out"


@dataclass(frozen=True)
class Block:
    """A block of the catalogue: `interfaces` are masters or slaves, `pins` inputs or outputs, names are patterns.

    `needed` are the interfaces and pins that a valid design connects.
    """

    interfaces: Mapping[str, str]
    pins: Mapping[str, str]
    parameters: frozenset[str] = frozenset()
    needed: tuple[str, ...] = ()

    def side(self, name: str, is_interface: bool) -> str | None:
        """Return whether `name` is a master, slave, input or output; None if the block has no such thing."""
        table = self.interfaces if is_interface else self.pins
        return next((side for pattern, side in table.items() if re.fullmatch(pattern, name)), None)


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


_ZYNQ = Block(
    {"M_AXI_GP[01]": MASTER, "S_AXI_HP[0-3]": SLAVE, "DDR": MASTER, "FIXED_IO": MASTER},
    {"M_AXI_GP[01]_ACLK": IN, "S_AXI_HP[0-3]_ACLK": IN, "FCLK_CLK[0-3]": OUT, "FCLK_RESET[0-3]_N": OUT, "IRQ_F2P": IN},
    _names(
        "PCW_USE_M_AXI_GP0 PCW_USE_S_AXI_HP0 PCW_FPGA0_PERIPHERAL_FREQMHZ PCW_USE_FABRIC_INTERRUPT PCW_IRQ_F2P_INTR"
    ),
    ("M_AXI_GP0_ACLK", "S_AXI_HP0_ACLK", "FCLK_CLK0", "FCLK_RESET0_N", "M_AXI_GP0", "S_AXI_HP0"),
)
_ZYNQ_ULTRASCALE = Block(
    {"M_AXI_HPM[01]_FPD": MASTER, "M_AXI_HPM0_LPD": MASTER, "S_AXI_HP[0-3]_FPD": SLAVE},
    {
        "maxihpm[01]_fpd_aclk": IN,
        "maxihpm0_lpd_aclk": IN,
        "saxihp[0-3]_fpd_aclk": IN,
        "pl_clk[0-3]": OUT,
        "pl_resetn[0-3]": OUT,
        "pl_ps_irq[01]": IN,
    },
    _names(
        "PSU__USE__M_AXI_GP0 PSU__USE__M_AXI_GP1 PSU__USE__M_AXI_GP2 PSU__USE__S_AXI_GP2 PSU__USE__IRQ0 "
        "PSU__FPGA_PL0_ENABLE PSU__CRL_APB__PL0_REF_CTRL__FREQMHZ PSU__SAXIGP2__DATA_WIDTH "
        "PSU__MAXIGP0__DATA_WIDTH"
    ),
    ("maxihpm0_fpd_aclk", "saxihp0_fpd_aclk", "pl_clk0", "pl_resetn0", "M_AXI_HPM0_FPD", "S_AXI_HP0_FPD"),
)
_DMA = Block(
    {
        "S_AXI_LITE": SLAVE,
        "M_AXI_MM2S": MASTER,
        "M_AXI_S2MM": MASTER,
        "M_AXIS_MM2S": MASTER,
        "S_AXIS_S2MM": SLAVE,
        "M_AXI_SG": MASTER,
    },
    {
        "s_axi_lite_aclk": IN,
        "m_axi_mm2s_aclk": IN,
        "m_axi_s2mm_aclk": IN,
        "axi_resetn": IN,
        "mm2s_introut": OUT,
        "s2mm_introut": OUT,
    },
    _names(
        "c_include_sg c_sg_length_width c_sg_include_stscntrl_strm c_include_mm2s c_include_s2mm c_include_mm2s_dre "
        "c_include_s2mm_dre c_m_axi_mm2s_data_width c_m_axi_s2mm_data_width c_m_axis_mm2s_tdata_width "
        "c_s_axis_s2mm_tdata_width c_mm2s_burst_size c_s2mm_burst_size c_addr_width c_micro_dma"
    ),
    (
        *("S_AXI_LITE", "M_AXI_MM2S", "M_AXI_S2MM", "M_AXIS_MM2S", "S_AXIS_S2MM"),
        *("s_axi_lite_aclk", "m_axi_mm2s_aclk", "m_axi_s2mm_aclk", "axi_resetn"),
    ),
)
_SMARTCONNECT = Block(
    {r"S\d\d_AXI": SLAVE, r"M\d\d_AXI": MASTER},
    {"aclk": IN, "aresetn": IN},
    frozenset(("NUM_SI", "NUM_MI", "NUM_CLKS", "HAS_ARESETN")),
    ("aclk", "aresetn", "S00_AXI", "M00_AXI"),
)
_RESET = Block(
    {},
    {
        "slowest_sync_clk": IN,
        "ext_reset_in": IN,
        "aux_reset_in": IN,
        "mb_debug_sys_rst": IN,
        "dcm_locked": IN,
        "peripheral_aresetn": OUT,
        "interconnect_aresetn": OUT,
        "peripheral_reset": OUT,
    },
    frozenset(("C_EXT_RST_WIDTH", "C_AUX_RST_WIDTH")),
    ("slowest_sync_clk", "ext_reset_in", "peripheral_aresetn"),
)
_CONCAT = Block({}, {r"In\d+": IN, "dout": OUT}, frozenset(("NUM_PORTS",)), ("In0", "dout"))

CATALOGUE: Mapping[str, Block] = {
    "xilinx.com:ip:processing_system7:5.5": _ZYNQ,
    "xilinx.com:ip:zynq_ultra_ps_e:3.5": _ZYNQ_ULTRASCALE,
    "xilinx.com:ip:axi_dma:7.1": _DMA,
    "xilinx.com:ip:smartconnect:1.0": _SMARTCONNECT,
    "xilinx.com:ip:proc_sys_reset:5.0": _RESET,
    "xilinx.com:ip:xlconcat:2.1": _CONCAT,
}


@dataclass
class BlockDesign:
    """What a script has built so far; each method returns what is wrong, or an empty string."""

    catalogue: Mapping[str, Block]
    cells: dict[str, Block] = field(default_factory=dict)
    connected: set[str] = field(default_factory=set)

    def add(self, name: str, vlnv: str) -> str:
        if vlnv not in self.catalogue:
            return f"there is no block {vlnv}"
        if name in self.cells:
            return f"there is a cell {name} already"
        self.cells[name] = self.catalogue[vlnv]
        return ""

    def look_up(self, path: str, is_interface: bool) -> str:
        cell, _, name = path.strip("/").partition("/")
        if cell not in self.cells:
            return f"there is no cell {cell}"
        if name and self.cells[cell].side(name, is_interface) is None:
            kind = "interface" if is_interface else "pin"
            return f"{cell} has no {kind} {name}"
        return ""

    def configure(self, cell: str, parameter: str) -> str:
        is_known = parameter.removeprefix("CONFIG.") in self.cells[cell].parameters
        return "" if is_known and parameter.startswith("CONFIG.") else f"{cell} has no parameter {parameter}"

    def connect(self, paths: list[str], is_interface: bool) -> str:
        """Connect one driver (a master, an output) with what it drives; each of these has one driver."""
        sides = []
        for path in paths:
            wrong = self.look_up(path, is_interface)
            if wrong:
                return wrong
            cell, _, name = path.strip("/").partition("/")
            sides.append(self.cells[cell].side(name, is_interface))
        driver, driven = (MASTER, SLAVE) if is_interface else (OUT, IN)
        if sides.count(driver) != 1 or sides.count(driven) != len(sides) - 1:
            return f"not one {driver} and otherwise {driven}s: {', '.join(paths)}"
        again = [path for path, side in zip(paths, sides, strict=True) if side == driven and path in self.connected]
        if again or (is_interface and self.connected & set(paths)):
            return f"connected twice: {', '.join(again or paths)}"
        self.connected |= set(paths)
        return ""

    def left_open(self) -> list[str]:
        """Return the interfaces and pins that a valid design would connect."""
        needed = [f"{cell}/{name}" for cell, block in self.cells.items() for name in block.needed]
        return [path for path in needed if path not in self.connected]
