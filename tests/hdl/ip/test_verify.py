"""The block of a trained network against the golden model, on scanned digits, at its AXI ports."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

pytest.importorskip("amaranth", reason='RTL needs pip install "bitkiln[rtl]"')
pytest.importorskip("cocotbext.axi", reason='the AXI bus models need pip install "bitkiln[rtl]"')

from bitkiln.frontend.datasets import DataFormat, DataSpec, load_dataset
from bitkiln.hdl.accelerator import Accelerator
from bitkiln.hdl.ip.verify import verify_ip
from bitkiln.hdl.verification import Level, RtlSimulator, Verification, VerifyOptions
from bitkiln.ir import Plan, ToolError, load_graph
from bitkiln.ir.units import MatrixVector
from bitkiln.passes.schedule import PlanOptions, schedule
from bitkiln.sim.dataflow import dataflow_cycles
from bitkiln.sim.queues import size_queues
from tests.projects import Tiny

IMAGES = 8

pytestmark = [pytest.mark.slow, pytest.mark.tools("verilator", "c++", "yosys", "cocotb")]


@pytest.fixture(scope="module")
def plan(tiny: Tiny) -> Plan:
    return size_queues(schedule(load_graph(tiny.graph), PlanOptions(max_multipliers=8)))


@pytest.fixture(scope="module")
def samples() -> torch.Tensor:
    return torch.from_numpy(load_dataset(DataSpec(DataFormat.DIGITS)).test_x)


def test_real_images_give_the_golden_bits(plan: Plan, samples: torch.Tensor, simulation_cache: Path) -> None:
    cycles = dataflow_cycles(plan)
    assert verify_ip(plan, samples, VerifyOptions(IMAGES), simulation_cache) == Verification(
        images=IMAGES,
        mismatches=0,
        cycle_mismatches=0,
        rtl_latency=cycles.latency,
        rtl_interval=cycles.interval,
        predicted_latency=cycles.latency,
        predicted_interval=cycles.interval,
        simulator=RtlSimulator.COCOTB,
        back_pressure_images=IMAGES,
        cycles=0,
        findings="",
        level=Level.IP,
    )


def test_wrong_weights_are_found(
    plan: Plan, samples: torch.Tensor, simulation_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hardware of another plan, the golden model of this one."""
    *before, last = plan.stages
    assert isinstance(last.unit, MatrixVector)
    weights = last.unit.weights.copy()
    weights[3] = weights[4]
    wrong = replace(plan, stages=(*before, replace(last, unit=replace(last.unit, weights=weights))))
    monkeypatch.setattr("bitkiln.hdl.ip.verify.Accelerator", lambda given: Accelerator(wrong))
    found = verify_ip(plan, samples, VerifyOptions(2, back_pressure=False), simulation_cache)
    assert not found.is_exact
    assert found.findings.startswith("alone: result 0 is ")
    assert (found.rtl_latency, found.cycle_mismatches) == (found.predicted_latency, 0)


def test_too_few_samples(plan: Plan, samples: torch.Tensor) -> None:
    with pytest.raises(ToolError, match=r"error\[too-few-samples\]: 5 images are to be verified"):
        verify_ip(plan, samples[:4], VerifyOptions(5))
