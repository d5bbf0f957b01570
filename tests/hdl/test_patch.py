"""New weights in a finished bitstream: the same file as a build with them, and what the chip's bits then compute."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("amaranth", reason="the Python package amaranth is not installed")

from bitkiln.boards import HX8K_BREAKOUT
from bitkiln.hdl.accelerator import Accelerator
from bitkiln.hdl.board_top import board_bundle
from bitkiln.hdl.build import BuildResult
from bitkiln.hdl.build_plan import build_plan
from bitkiln.hdl.bundle import Bundle
from bitkiln.hdl.ice40_bitstream import bitstream_with_rams, rams_of_bitstream
from bitkiln.hdl.ice40_contents import (
    find_places,
    netlist_with_rams,
    rams_of,
    rams_of_netlist,
    renewed,
    with_rams,
)
from bitkiln.hdl.ice40_memory import physical_bits
from bitkiln.hdl.patch import PatchRecord
from bitkiln.hdl.plan_identity import patch_plan, plan_identity, plan_renewal
from bitkiln.hdl.renewal import Contents, contents_of, template
from bitkiln.hdl.verification import Level
from bitkiln.hdl.verify_level import verify_built
from bitkiln.ir import Graph, Plan, ToolError
from bitkiln.passes import Quantise
from bitkiln.passes.schedule import PlanOptions, schedule
from tests.passes.networks import Network, context

BOARD = HX8K_BREAKOUT


def planned(graph: Graph, *, renewable: bool = True) -> Plan:
    return schedule(graph, PlanOptions(clock_mhz=12, max_multipliers=3, renewable=renewable))


def design_of(plan: Plan) -> Bundle:
    return board_bundle(Accelerator(plan), plan_identity(plan, BOARD.clock_hz), BOARD)


@pytest.fixture(scope="module")
def graph() -> Graph:
    """A linear layer with biases, quantised."""
    network = Network((8,))
    graph = network.graph(network.linear(network.x, 6, "fc1"))
    return Quantise(weight_bits=5).run(graph, context(graph))


@pytest.fixture(scope="module")
def retrained(graph: Graph) -> Graph:
    """Other weights and biases."""
    consts = tuple(replace(const, data=const.data.flip(0)) for const in graph.consts)
    return replace(graph, consts=consts)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("builds")


@pytest.fixture(scope="module")
def built(graph: Graph, cache: Path) -> BuildResult:
    return build_plan(planned(graph), BOARD, cache=cache, use_dsp=False)


def test_only_contents_differ(graph: Graph, retrained: Graph) -> None:
    one, other = design_of(planned(graph)), design_of(planned(retrained))
    assert one.digest() != other.digest()
    assert template(one).digest() == template(other).digest() == template(template(one)).digest()
    renewals = [plan_renewal(planned(each), BOARD, use_dsp=True) for each in (graph, retrained)]
    assert renewals[0].structure == renewals[1].structure
    assert [{memory.name: memory for memory in each.memories} for each in renewals] == [
        contents_of(one),
        contents_of(other),
    ]
    assert sorted(name.removeprefix("top.hosted.") for name in contents_of(one)) == [
        "accelerator.layers_fc1.renewable_rows",
        "accelerator.layers_fc1.renewable_weights",
        "link.renewable_identity",
    ]
    assert plan_renewal(planned(graph, renewable=False), BOARD, use_dsp=True).structure != renewals[0].structure


def test_contents_are_those_of_the_plan(graph: Graph) -> None:
    plan = planned(graph)
    identity = contents_of(design_of(plan))["top.hosted.link.renewable_identity"]
    assert bytes(identity.words)[:92] == plan_identity(plan, BOARD.clock_hz).encode()


@pytest.mark.slow
@pytest.mark.tools("yosys", "nextpnr-ice40")
def test_a_patched_bitstream_is_the_one_that_would_be_built(
    built: BuildResult, graph: Graph, retrained: Graph, cache: Path
) -> None:
    record = PatchRecord.decode(built.record, "record")
    assert record.bitstream == hashlib.sha256(built.bitstream).hexdigest()
    assert patch_plan(planned(graph), BOARD, built.bitstream, record) == (built.bitstream, record)
    patched, new = patch_plan(planned(retrained), BOARD, built.bitstream, record)
    rebuilt = build_plan(planned(retrained), BOARD, cache=cache, use_dsp=False)
    assert rebuilt.is_cached  # its structure was built before
    assert patched == rebuilt.bitstream != built.bitstream
    assert new.encode() == rebuilt.record
    assert patch_plan(planned(graph), BOARD, patched, new)[0] == built.bitstream


@pytest.mark.slow
@pytest.mark.tools("yosys", "nextpnr-ice40", "c++")
def test_the_patched_bits_compute_the_new_network(
    built: BuildResult, graph: Graph, retrained: Graph, cache: Path
) -> None:
    patched, _ = patch_plan(planned(retrained), BOARD, built.bitstream, PatchRecord.decode(built.record, "record"))
    samples = torch.randn(3, 8)
    found = verify_built(planned(retrained), samples, BOARD, Level.BITSTREAM, 3, bitstream=patched, cache=cache)
    assert found.is_exact, found.findings
    wrong = verify_built(planned(graph), samples, BOARD, Level.BITSTREAM, 3, bitstream=patched, cache=cache)
    assert "the chip says that it holds another design" in wrong.findings


@pytest.mark.slow
@pytest.mark.tools("yosys", "nextpnr-ice40")
def test_what_cannot_be_patched(built: BuildResult, graph: Graph) -> None:
    record = PatchRecord.decode(built.record, "record")
    with pytest.raises(ToolError) as caught:
        patch_plan(planned(graph, renewable=False), BOARD, built.bitstream, record)
    assert str(caught.value) == (
        "error[not-patchable]: the bitstream has 3 renewable memories, the new design 0\n"
        "  help: give the options of the first build; keep shapes, formats, shifts and the number of thresholds, as "
        "`tune` does of quantised weights; or build anew"
    )
    other = schedule(graph, PlanOptions(clock_mhz=12, max_multipliers=6, renewable=True))
    with pytest.raises(ToolError, match="not-patchable"):
        patch_plan(other, BOARD, built.bitstream, record)
    changed = built.bitstream[:-20] + bytes([built.bitstream[-20] ^ 1]) + built.bitstream[-19:]
    with pytest.raises(ToolError) as caught:
        patch_plan(planned(graph), BOARD, changed, record)
    assert str(caught.value) == (
        "error[bad-bitstream]: the bitstream is not the one that its record is of\n"
        "  help: `bitkiln build --renewable` makes both again"
    )
    with pytest.raises(ToolError, match="its checksum is wrong"):
        rams_of_bitstream(changed)
    with pytest.raises(ToolError, match="it ends early"):
        rams_of_bitstream(built.bitstream[:50_000])


@pytest.mark.slow
@pytest.mark.tools("yosys", "nextpnr-ice40")
def test_file_text_and_netlist_hold_the_same_block_rams(built: BuildResult) -> None:
    in_file, in_text = rams_of_bitstream(built.bitstream), rams_of(built.routed.decode())
    used = {bits.tobytes() for bits in in_text.values() if bits.any()}
    assert {bits.tobytes() for bits in in_file.values() if bits.any()} == used
    in_netlist = rams_of_netlist(built.netlist.decode())
    assert {bits.tobytes() for bits in in_netlist.values() if bits.any()} == used
    assert rams_of_netlist(netlist_with_rams(built.netlist.decode(), in_netlist)).keys() == in_netlist.keys()
    assert bitstream_with_rams(built.bitstream, in_file) == built.bitstream
    assert with_rams(built.routed.decode(), in_text) == built.routed.decode()


def test_bits_that_are_nowhere_are_an_error() -> None:
    rng = np.random.default_rng(0)
    memory = Contents("top.memory", 4, tuple(rng.integers(0, 16, 64).tolist()))
    rams = {"a": np.zeros(4096, bool)}
    with pytest.raises(ToolError) as caught:
        find_places(rams, (memory,))
    assert str(caught.value) == (
        "error[not-patchable]: of 256 bits of renewable memories 0 were found in block RAMs\n"
        "  help: this is a fault of bitkiln; build without --renewable"
    )
    assert renewed(rams, (), (memory,))["a"].sum() == 0


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"format": 9}', json.dumps({"format": 1, "memories": 3})])
def test_a_record_that_is_none(text: str) -> None:
    with pytest.raises(ToolError, match=r"error\[bad-record\]: old.renewal.json is no record of a build"):
        PatchRecord.decode(text.encode(), "old.renewal.json")


def test_random_contents_are_told_apart_in_any_width() -> None:
    rng = np.random.default_rng(1)
    memory = Contents("top.memory", 11, tuple(rng.integers(0, 1 << 11, 320).tolist()))
    bits = np.array([[word >> n & 1 for n in range(11)] for word in memory.words], bool)
    rams = {"a": np.zeros(4096, bool), "b": np.zeros(4096, bool)}
    for lane in range(8):
        rams["a"][physical_bits(8)[lane][:320]] = bits[:, lane]
    for lane in range(3):
        rams["b"][physical_bits(4)[lane][:320]] = bits[:, 8 + lane]
    places = find_places(rams, (memory,))
    assert len(places) == 11
    other = replace(memory, words=tuple(rng.integers(0, 1 << 11, 320).tolist()))
    changed = renewed(rams, places, (other,))
    assert find_places(changed, (other,)) == places
