"""A netlist of a chip's cells as a design to simulate: what synthesis made of the RTL, or what a bitstream holds.

The cells behave as yosys' own models of them say. Of pins, which those models describe with the three states of a
wire, of block RAMs and multipliers, which most of them lack, and of PLLs there are models of ours (templates/bench).
"""

from __future__ import annotations

import re
from importlib.resources import files as package_files

from bitkiln.boards import Board, Family

from .bundle import TOP, Bundle
from .uart_simulation import UartDesign

_NETLIST = "netlist.v"
# By family: our models, which come first, and yosys', which fill in the rest.
_MODELS = {
    Family.ICE40: (("ice40_cells.v",), "+/ice40/cells_sim.v"),
    Family.ECP5: (("block_ram.v", "ecp5_cells.v"), "+/ecp5/cells_sim.v"),
    Family.GOWIN: (("block_ram.v", "gowin_cells.v"), "+/gowin/cells_sim.v"),
}
_PORT = re.compile(rb"^  (?:inout|input|output) (\w+);$", re.MULTILINE)


def netlist_design(netlist: bytes, board: Board) -> UartDesign:
    """Return the netlist `top` of a build for `board`, Verilog, as a design with the pins of clock and serial port."""
    clock, rx, tx = _pins(netlist, board)
    plain = _PORT.sub(lambda found: _directed(found, tx), netlist)
    ours, theirs = _MODELS[board.family]
    models = {name: package_files("bitkiln.templates").joinpath("bench", name).read_bytes() for name in ours}
    commands = (
        *(f"read_verilog -icells {name}" for name in ours),
        f"read_verilog -defer -nooverwrite {theirs}",
        f"read_verilog -overwrite {_NETLIST}",
        f"hierarchy -check -top {TOP}",
        "proc",
        "flatten",
        "setundef -zero -undriven",  # as in the chip: what is not connected is 0
        "opt_expr",
        "opt_clean -purge",
    )
    return UartDesign(Bundle.of({_NETLIST: plain, **models}), commands, clock, rx, tx)


def _directed(found: re.Match[bytes], tx: str) -> bytes:
    name = found[1].decode()
    return f"  {'output' if name == tx else 'input'} {name};".encode()


def _pins(netlist: bytes, board: Board) -> tuple[str, str, str]:
    """Return the names of the pins of the clock, rx and tx."""
    names = [name.decode() for name in _PORT.findall(netlist[: netlist.index(b"endmodule")])]
    serial = f"uart_{board.uart}__"
    rx, tx = (next(name for name in names if name.startswith(serial + end)) for end in ("rx", "tx"))
    (clock,) = (name for name in names if not name.startswith(serial))
    return clock, rx, tx
