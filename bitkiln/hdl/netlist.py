"""A netlist of iCE40's cells as a design to simulate: what synthesis made of the RTL, or what a bitstream holds.

The cells behave as yosys' own models of them say. Pins, which those models describe with the three states of a wire,
and block RAMs, which take yosys half a minute each, have models of ours (templates/bench/ice40_cells.v).
"""

from __future__ import annotations

import re
from importlib.resources import files as package_files

from bitkiln.boards import Board, Family
from bitkiln.ir import fail

from .board_top import TOP
from .bundle import Bundle
from .uart_simulation import UartDesign

_NETLIST, _MODELS = "netlist.v", "models.v"
_PORT = re.compile(rb"^  (?:inout|input|output) (\w+);$", re.MULTILINE)


def netlist_design(netlist: bytes, board: Board) -> UartDesign:
    """Return the netlist `top` of a build for `board`, Verilog, as a design with the pins of clock and serial port.

    Raises `wrong-level` for another family than iCE40.
    """
    if board.family is not Family.ICE40:
        message = f"below the RTL only iCE40 can be verified, and {board.title} is {board.family.value}"
        raise fail("wrong-level", message, hint="--level rtl")
    clock, rx, tx = _pins(netlist, board)
    plain = _PORT.sub(lambda found: _directed(found, tx), netlist)
    models = package_files("bitkiln.templates").joinpath("bench", "ice40_cells.v").read_bytes()
    commands = (
        f"read_verilog -icells {_MODELS}",
        "read_verilog -defer -nooverwrite +/ice40/cells_sim.v",
        f"read_verilog -overwrite {_NETLIST}",
        f"hierarchy -check -top {TOP}",
        "proc",
        "flatten",
        "setundef -zero -undriven",  # as in the chip: what is not connected is 0
        "opt_expr",
        "opt_clean -purge",
    )
    return UartDesign(Bundle.of({_NETLIST: plain, _MODELS: models}), commands, clock, rx, tx)


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
