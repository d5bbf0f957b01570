"""Down to the bits: netlist and bitstream against the golden model, and a fault in either that must be found."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch

pytest.importorskip("amaranth_boards", reason="the Python package amaranth_boards is not installed")

from bitkiln.boards import HX8K_BREAKOUT, ICEBREAKER, ULX3S_85F
from bitkiln.boards.baud import cycles_per_bit
from bitkiln.boards.clocks import board_at
from bitkiln.hdl.board_top import board_bundle
from bitkiln.hdl.build import BuildResult, build
from bitkiln.hdl.host import Device, Inference
from bitkiln.hdl.ice40_chipdb import ChipDatabase
from bitkiln.hdl.ice40_extract import Bits, extract
from bitkiln.hdl.netlist import netlist_design
from bitkiln.hdl.toolchain import ICEPACK
from bitkiln.hdl.uart_simulation import UartSimulation
from bitkiln.hdl.verification import Level
from bitkiln.hdl.verify_level import QUICK_COMPILE, unpacked, verify_built
from bitkiln.ir import Plan, ToolError
from bitkiln.ir.units import DspBlock, Multiplier, Storage
from bitkiln.passes import Quantise
from bitkiln.passes.schedule import LayerFolding, PlanOptions, schedule
from bitkiln.sim.dataflow import dataflow_cycles
from tests.hdl.byte_adder import ByteAdder, adder_identity
from tests.passes.networks import Network, context

BEATS = 8
IDENTITY = adder_identity(BEATS, HX8K_BREAKOUT.clock_hz)
TABLE_ENTRIES = (4, 14, 15, 5, 6, 16, 17, 7, 3, 13, 12, 2, 1, 11, 10, 0)  # of the 20 bits of a logic cell


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> BuildResult:
    return build(ByteAdder(BEATS), IDENTITY, HX8K_BREAKOUT, cache=tmp_path_factory.mktemp("builds"))


def netlist_of(bits: str) -> str:
    constraints = board_bundle(ByteAdder(BEATS), IDENTITY, HX8K_BREAKOUT)["top.pcf"].decode()
    return extract(bits, constraints, HX8K_BREAKOUT.device, HX8K_BREAKOUT.package)


def device(netlist: str, cache: Path) -> Device:
    bit_cycles = cycles_per_bit(HX8K_BREAKOUT.clock_hz, HX8K_BREAKOUT.baud)
    design = netlist_design(netlist.encode(), HX8K_BREAKOUT)
    simulation = UartSimulation(design, bit_cycles, patience_cycles=20_000, cache_folder=cache, cxx_flags=QUICK_COMPILE)
    return Device(simulation, timeout_s=0, attempts=1)


@pytest.mark.slow
@pytest.mark.tools("yosys", "c++", "nextpnr-ice40")
def test_the_bits_of_the_bitstream_are_the_design(built: BuildResult, simulation_cache: Path) -> None:
    netlist = netlist_of(unpacked(built.bitstream))
    assert netlist == netlist_of(built.routed.decode()), "the packer changes nothing"
    host = device(netlist, simulation_cache)
    assert host.identify() == IDENTITY
    for image in ([255] * BEATS, [*range(BEATS)]):
        assert host.infer(image) == Inference((sum(image),), BEATS + 1)


@pytest.mark.slow
@pytest.mark.tools("yosys", "c++", "nextpnr-ice40")
def test_one_flipped_bit_is_found(built: BuildResult, simulation_cache: Path, tmp_path: Path) -> None:
    (tmp_path / "top.asc").write_text(with_flipped_bit(built))
    ICEPACK.run(("top.asc", "top.bin"), tmp_path)
    flipped = (tmp_path / "top.bin").read_bytes()
    assert 0 < sum((one ^ other).bit_count() for one, other in zip(flipped, built.bitstream, strict=True)) <= 17  # CRC
    with pytest.raises(ToolError, match="no-answer"):
        device(netlist_of(unpacked(flipped)), simulation_cache).identify()


def with_flipped_bit(built: BuildResult) -> str:
    """Flip the entry with which the table that drives the serial line makes it idle: a function of one register."""
    netlist = netlist_of(unpacked(built.bitstream))
    line = re.search(r"assign uart_0__tx__io = (?:\w+ \? )?n(\d+)(?: : 1'b1)?;", netlist)
    assert line, "the serial line is driven by a wire"
    database = ChipDatabase(HX8K_BREAKOUT.device)
    (cell,) = (bel for bel in database.bels if bel.kind == "lc" and int(line[1]) in bel.outputs.values())
    table = re.search(rf"LUT_INIT\(16'h(\w+)\)\) \w+ \(\.O\(n{line[1]}\), (.*)\);", netlist)
    assert table
    (used,) = (int(number) for number in re.findall(r"\.I(\d)\(n\d+\)", table[2]))
    entry = 0 if int(table[1], 16) & 1 else 1 << used
    row, column = database.settings[1][f"LC_{cell.z}"][TABLE_ENTRIES[entry]].tolist()
    text = built.routed.decode()
    rows = text.index(f".logic_tile {cell.x} {cell.y}\n") + len(f".logic_tile {cell.x} {cell.y}\n")
    place = rows + row * 55 + column
    return f"{text[:place]}{1 - int(text[place])}{text[place + 1 :]}"


@pytest.fixture(scope="module")
def plan() -> Plan:
    """A linear layer with two products in a block, and one that adds four, of a block each, in a cycle."""
    network = Network((8,))
    graph = network.graph(network.linear(network.linear(network.x, 4, "pairs"), 2, "fc"))
    by_hand = (
        LayerFolding("layers.pairs", pe=1, simd=2, multiplier=Multiplier.PACKED, storage=Storage.BLOCK),
        LayerFolding("layers.fc", pe=1, simd=4, multiplier=Multiplier.DSP),
    )
    options = PlanOptions(dsp_block=DspBlock.MAC16, layers=by_hand)
    return schedule(Quantise().run(graph, context(graph)), options)


@pytest.mark.slow
@pytest.mark.tools("yosys", "c++")
def test_the_netlist_with_multiplier_blocks_and_a_pll_is_right(plan: Plan, tmp_path: Path) -> None:
    # yosys' own ice40_dsp breaks its sums of products, see bitkiln/hdl/ice40_dsp.py.
    board = board_at(replace(ICEBREAKER, baud=6_000_000), 24)  # four cycles a bit: the fewest to simulate
    found = verify_built(plan, torch.randn(3, 8), board, Level.NETLIST, 3, cache=tmp_path)
    assert found.is_exact, found.findings
    assert (found.images, found.level, found.findings) == (3, Level.NETLIST, "")
    assert found.rtl_latency == found.predicted_latency == dataflow_cycles(plan).latency


def test_a_level_that_the_family_does_not_have(plan: Plan) -> None:
    with pytest.raises(ToolError) as caught:
        verify_built(plan, torch.randn(2, 8), ULX3S_85F, Level.BITSTREAM, 2)
    assert str(caught.value) == (
        "error[wrong-level]: the level bitstream is for iCE40, and ULX3S-85F (ECP5 LFE5U-85F) is ecp5\n"
        "  help: --level netlist"
    )


@pytest.mark.tools("nextpnr-ice40")
def test_a_file_that_is_no_bitstream(plan: Plan) -> None:
    with pytest.raises(ToolError) as caught:
        verify_built(plan, torch.randn(2, 8), ICEBREAKER, Level.BITSTREAM, 2, bitstream=b"no bits")
    message, hint = str(caught.value).splitlines()
    assert message.startswith("error[bad-bitstream]: this is no whole bitstream for iCE40; iceunpack said: ")
    assert hint == "  help: `bitkiln build` makes it again"


def test_a_bitstream_as_text_is_taken_apart() -> None:
    text = ".comment made up\n.device 1k\n.io_tile 1 0\n01\n10\n\n.ram_data 8 1\n0f\n\n.extra_bit 0 330 142\n"
    assert Bits.of(text) == Bits({(1, 0): ("01", "10")}, {(8, 1): ("0f",)}, frozenset({(0, 330, 142)}))
