"""Multipliers round which yosys' own ice40_dsp leaves wires that nothing drives."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("amaranth_boards", reason="the Python package amaranth_boards is not installed")

from amaranth.back import rtlil

from bitkiln.boards import ICEBREAKER
from bitkiln.hdl.accelerator import Accelerator
from bitkiln.hdl.family_tools import family_tools
from bitkiln.hdl.toolchain import YOSYS
from bitkiln.ir.units import Multiplier, Storage
from bitkiln.passes import Quantise
from bitkiln.passes.schedule import LayerFolding, PlanOptions, schedule
from tests.passes.networks import Network, context


@pytest.mark.tools("yosys")
@pytest.mark.parametrize("bits", [2, 8])
def test_products_with_an_odd_one_and_narrow_ones(bits: int, tmp_path: Path) -> None:
    network = Network((6,))
    graph = network.graph(network.linear(network.x, 2, "fc"))
    quantise = Quantise(weight_bits=bits, activation_bits=bits)
    wish = LayerFolding("*fc", pe=1, simd=3, multiplier=Multiplier.DSP, storage=Storage.BLOCK)
    plan = schedule(quantise.run(graph, context(graph)), PlanOptions(layers=(wish,)))
    tools = family_tools(ICEBREAKER)
    tools.files.write(tmp_path / "build")
    (tmp_path / "build" / "top.il").write_text(rtlil.convert(Accelerator(plan), name="top", emit_src=False))
    (tmp_path / "build" / "synthesis.ys").write_text(tools.script(True))
    YOSYS.run(("-q", "-s", "synthesis.ys"), tmp_path / "build")
    cells = json.loads((tmp_path / "build" / "stat.json").read_text())["design"]["num_cells_by_type"]
    assert cells.get("SB_MAC16", 0) == (3 if bits == 8 else 0)
