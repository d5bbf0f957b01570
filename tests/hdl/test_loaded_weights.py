"""Weights that the host writes: the same hardware for any of them, the same bits and cycles as any other memory."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

pytest.importorskip("amaranth", reason='RTL needs pip install "bitkiln[rtl]"')

from amaranth.back import rtlil

from bitkiln.hdl.accelerator import Accelerator
from bitkiln.hdl.generate import generate_rtl
from bitkiln.hdl.protocol import CHUNK_BYTES
from bitkiln.hdl.verification import RtlSimulator, VerifyOptions
from bitkiln.hdl.verify import verify_plan
from bitkiln.hdl.weights import has_loaded_weights, weights_of
from bitkiln.ir import Graph, Plan, load_graph
from bitkiln.ir.units import MatrixVector, Storage
from bitkiln.passes.schedule import LayerFolding, PlanOptions, schedule
from bitkiln.sim.dataflow import dataflow_cycles
from bitkiln.sim.queues import size_queues
from tests.projects import Tiny

IMAGES = 3


def loaded(graph: Graph, storage: Storage, banks: int = 1) -> Plan:
    layers = (LayerFolding("*", storage=storage),)
    options = PlanOptions(max_multipliers=8, renewable=True, weight_banks=banks, layers=layers)
    return size_queues(schedule(graph, options))


def retrained(graph: Graph) -> Graph:
    """The same network with other weights and biases of the same formats."""

    def other(name: str, data: torch.Tensor) -> torch.Tensor:
        return data.roll(1, 0) if name.endswith(("weight", "bias")) else data

    consts = tuple(replace(const, data=other(const.name, const.data)) for const in graph.consts)
    return replace(graph, consts=consts)


@pytest.fixture(scope="module")
def graph(tiny: Tiny) -> Graph:
    return load_graph(tiny.graph)


@pytest.mark.parametrize("storage", [Storage.LOADED, Storage.BIG])
def test_other_weights_need_no_other_hardware(graph: Graph, storage: Storage) -> None:
    one, other = loaded(graph, storage), loaded(retrained(graph), storage)
    assert weights_of(one).digest != weights_of(other).digest
    assert len(weights_of(one).data) == len(weights_of(other).data)
    texts = [rtlil.convert(Accelerator(plan), name="top", emit_src=False) for plan in (one, other)]
    assert texts[0] == texts[1]


def test_a_set_is_whole_chunks_of_words_and_rows(graph: Graph) -> None:
    weights = weights_of(loaded(graph, Storage.LOADED))
    assert len(weights.data) % CHUNK_BYTES == 0
    assert b"".join(weights.chunks) == weights.data


def test_nothing_is_loaded_by_default(graph: Graph) -> None:
    plan = schedule(graph, PlanOptions(max_multipliers=8))
    assert not has_loaded_weights(plan)
    assert weights_of(plan).data == b""


@pytest.mark.parametrize("banks", [1, 2])
@pytest.mark.parametrize("simulator", [RtlSimulator.COMPILED, RtlSimulator.AMARANTH])
@pytest.mark.tools("yosys", "c++")
def test_bits_and_cycles(graph: Graph, simulator: RtlSimulator, banks: int, simulation_cache: Path) -> None:
    plan = loaded(graph, Storage.BIG, banks)
    samples = torch.rand(IMAGES, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    found = verify_plan(plan, samples, VerifyOptions(IMAGES, simulator), simulation_cache)
    assert found.is_exact
    assert found.rtl_latency == dataflow_cycles(plan).latency


@pytest.mark.tools("yosys")
def test_generated_files_have_the_weights_beside_them(graph: Graph) -> None:
    plan = loaded(graph, Storage.LOADED)
    bundle = generate_rtl(plan)
    assert bundle.paths == ("plan.json", "top.il", "top.v", "weights.bin")
    assert bundle["weights.bin"] == weights_of(plan).data
    assert b"input load__valid;" in bundle["top.v"]


def test_where_weights_live_changes_no_cycle(graph: Graph) -> None:
    usual = size_queues(schedule(graph, PlanOptions(max_multipliers=8)))
    assert dataflow_cycles(loaded(graph, Storage.LOADED)).latency == dataflow_cycles(usual).latency


def test_widths_hold_for_any_weights(graph: Graph) -> None:
    units = [stage.unit for stage in loaded(graph, Storage.LOADED).stages if isinstance(stage.unit, MatrixVector)]
    tight = [stage.unit for stage in schedule(graph, PlanOptions(max_multipliers=8)).stages]
    tight_units = [unit for unit in tight if isinstance(unit, MatrixVector)]
    for unit, own in zip(units, tight_units, strict=True):
        inputs = unit.inputs[0].code_range
        assert unit.largest_weight == 1 << (unit.weight_bits - 1)
        largest = unit.columns * unit.largest_weight * max(map(abs, inputs))
        assert 2 * largest <= (1 << (unit.accumulator_bits - 1)) - 1
        assert unit.accumulator_bits > own.accumulator_bits
