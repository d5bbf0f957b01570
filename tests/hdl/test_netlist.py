"""Our models of the cells that yosys has no behaviour of, against what the synthesised designs mean."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("amaranth_boards", reason="the Python package amaranth_boards is not installed")

from bitkiln.boards import ICEBREAKER, TANG_NANO_20K, ULX3S_85F, Board
from bitkiln.boards.baud import LEAST_CYCLES_PER_BIT
from bitkiln.hdl.board_top import board_bundle
from bitkiln.hdl.bundle import Bundle
from bitkiln.hdl.family_tools import NETLIST, family_tools
from bitkiln.hdl.host import Device
from bitkiln.hdl.netlist import netlist_design
from bitkiln.hdl.toolchain import YOSYS
from bitkiln.hdl.uart_simulation import UartSimulation
from bitkiln.hdl.verify_level import QUICK_COMPILE
from tests.hdl.block_memories import ADDRESS_BITS, Memories, expected, memories_identity


def synthesised(board: Board, folder: Path) -> tuple[bytes, dict[str, int]]:
    """Return the netlist and its cells by type."""
    tools = family_tools(board)
    design = board_bundle(Memories(), memories_identity(board.clock_hz), board)
    script = Bundle.of({"synthesis.ys": tools.script(has_dsp=True).encode()})
    place = design.merged(script).merged(tools.files).write(folder)
    YOSYS.run(("-q", "-s", "synthesis.ys"), place)
    statistics = json.loads((place / "stat.json").read_text())
    return (place / NETLIST).read_bytes(), statistics["design"]["num_cells_by_type"]


@pytest.mark.slow
@pytest.mark.tools("yosys", "c++")
@pytest.mark.parametrize("own", [ICEBREAKER, ULX3S_85F, TANG_NANO_20K], ids=lambda board: board.name)
def test_block_rams_of_every_width_and_multipliers(own: Board, tmp_path: Path) -> None:
    board = replace(own, baud=own.clock_hz // LEAST_CYCLES_PER_BIT)  # the fewest cycles to simulate
    netlist, cells = synthesised(board, tmp_path / "synthesis")
    needed = family_tools(board).least(cells)
    assert needed.bram >= 7
    assert needed.dsp == 2
    simulation = UartSimulation(
        netlist_design(netlist, board), LEAST_CYCLES_PER_BIT, cache_folder=tmp_path, cxx_flags=QUICK_COMPILE
    )
    device = Device(simulation, timeout_s=0, attempts=1)
    addresses = [0, (1 << ADDRESS_BITS) - 1, *(random.randrange(1 << ADDRESS_BITS) for _ in range(2))]
    addresses += addresses  # the counters have been written by then
    assert [device.infer([address]).codes[0] for address in addresses] == expected(addresses)
