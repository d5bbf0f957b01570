"""Verification of a plan: two simulators agree, and what is wrong is found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor

pytest.importorskip("amaranth", reason='RTL needs pip install "bitkiln[rtl]"')

from bitkiln.hdl.verification import RtlSimulator, Verification, VerifyOptions
from bitkiln.hdl.verify import golden_codes, verify_plan
from bitkiln.ir import Plan, Stream, ToolError, evaluate, load_graph
from bitkiln.ir.units import MatrixVector
from bitkiln.passes.schedule import PlanOptions, schedule
from bitkiln.sim.dataflow import dataflow_cycles
from bitkiln.sim.queues import size_queues
from tests.projects import Tiny

IMAGES = 20
OPTIONS = VerifyOptions(IMAGES)

Verify = Callable[..., Verification]


@pytest.fixture(scope="module")
def plan(tiny: Tiny) -> Plan:
    return size_queues(schedule(load_graph(tiny.graph), PlanOptions(max_multipliers=8)))


@pytest.fixture(scope="module")
def samples() -> Tensor:
    return torch.rand(IMAGES + 4, 1, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def verify(plan: Plan, samples: Tensor, simulation_cache: Path) -> Verify:
    """Verify `plan` or another one of the same graph."""

    def run(options: VerifyOptions = OPTIONS, wrong: Plan | None = None) -> Verification:
        return verify_plan(wrong or plan, samples, options, simulation_cache)

    return run


@pytest.mark.slow
@pytest.mark.parametrize("back_pressure", [False, True])
@pytest.mark.tools("verilator", "c++", "yosys")
def test_both_simulators_find_the_same(back_pressure: bool, plan: Plan, verify: Verify) -> None:
    pytest.importorskip("cocotb", reason='cocotb needs pip install "bitkiln[rtl]"')
    compiled = verify(replace(OPTIONS, back_pressure=back_pressure))
    cycles = dataflow_cycles(plan)
    assert compiled == Verification(
        images=IMAGES,
        mismatches=0,
        cycle_mismatches=0,
        rtl_latency=cycles.latency,
        rtl_interval=cycles.interval,
        predicted_latency=cycles.latency,
        predicted_interval=cycles.interval,
        simulator=RtlSimulator.COMPILED,
        back_pressure_images=IMAGES if back_pressure else 0,
        cycles=compiled.cycles,
        findings="",
    )
    assert compiled.is_exact
    assert compiled.cycles > (IMAGES - 1) * cycles.interval
    cocotb = verify(replace(OPTIONS, back_pressure=back_pressure, simulator=RtlSimulator.COCOTB))
    assert cocotb == replace(compiled, simulator=RtlSimulator.COCOTB)


@pytest.mark.slow
@pytest.mark.tools("verilator", "c++", "yosys")
def test_both_simulators_find_the_same_faults(plan: Plan, verify: Verify) -> None:
    pytest.importorskip("cocotb", reason='cocotb needs pip install "bitkiln[rtl]"')
    wrong = with_wrong_weight(plan)
    compiled = verify(wrong=wrong)
    cocotb = verify(replace(OPTIONS, simulator=RtlSimulator.COCOTB), wrong)
    assert compiled.mismatches > 0
    assert cocotb == replace(compiled, simulator=RtlSimulator.COCOTB)


def with_wrong_weight(plan: Plan) -> Plan:
    """All bits of the convolution's largest weight inverted; the graph, and so the golden model, stays."""
    window, conv, *others = plan.stages
    unit = cast(MatrixVector, conv.unit)
    weights = unit.weights.copy()
    index = np.abs(weights).argmax()
    weights.flat[index] = ~weights.flat[index]
    return replace(plan, stages=(window, replace(conv, unit=replace(unit, weights=weights)), *others))


@pytest.mark.tools("c++", "yosys")
def test_one_wrong_weight_is_found(plan: Plan, verify: Verify) -> None:
    found = verify(wrong=with_wrong_weight(plan))
    assert not found.is_exact
    assert 0 < found.mismatches <= 2 * IMAGES * plan.stream["output"].beats
    assert found.cycle_mismatches == 0
    beats = IMAGES * plan.stream["output"].beats
    first, detail, second, _ = found.findings.splitlines()  # without and with back-pressure
    assert first == second == f"{beats} output beats: {found.mismatches // 2} wrong, 0 in the wrong cycle"
    assert detail.startswith("  output beat ")


@pytest.mark.tools("c++", "yosys")
def test_a_queue_with_another_latency_than_declared_is_found(
    plan: Plan, verify: Verify, monkeypatch: pytest.MonkeyPatch
) -> None:
    declared = cast(Any, Stream.latency).fget
    name = plan.stages[1].outputs[0]
    monkeypatch.setattr(Stream, "latency", property(lambda stream: declared(stream) + (stream.name == name)))
    found = verify()
    assert found.mismatches == 0
    assert found.cycle_mismatches > 0
    assert (found.predicted_latency, found.predicted_interval) == (found.rtl_latency + 1, found.rtl_interval)
    assert not found.is_exact
    assert "in the wrong cycle\n  output beat 0 came in cycle " in found.findings


@pytest.mark.tools("c++", "yosys")
def test_results_in_another_order_are_found(plan: Plan, verify: Verify) -> None:
    found = verify(replace(OPTIONS, back_pressure=False), replace(plan, output_order=plan.output_order[::-1]))
    assert found.mismatches > 0
    assert found.back_pressure_images == 0


def test_more_images_than_there_are(plan: Plan, samples: Tensor) -> None:
    with pytest.raises(ToolError) as caught:
        verify_plan(plan, samples, VerifyOptions(30))
    assert str(caught.value) == (
        "error[too-few-samples]: 30 images are to be verified, but there are only 24 test samples\n"
        "  help: at most images = 24"
    )


def test_golden_codes_are_those_of_the_graph(plan: Plan, samples: Tensor) -> None:
    given, golden = golden_codes(plan, samples, batch=7)
    quantised = torch.floor(samples.double() * 2**7 + 0.5).clamp(0, 255)
    assert given.tolist() == quantised.reshape(len(samples), -1).long().tolist()
    (scores,) = evaluate(plan.graph, samples)
    (dequantise,) = plan.graph.nodes[-1:]
    fraction_bits = plan.graph.types[plan.output_value].number.fracs[0]  # type: ignore[union-attr]  # an Int
    assert dequantise.op.name == "dequantise"
    assert (golden * 2.0**-fraction_bits).tolist() == scores.double().tolist()


@pytest.mark.parametrize(
    ("images", "seed", "message"),
    [
        (1, 1, "images must be at least 2 (an interval needs two), not 1"),
        (2, 0, "seed must be between 1 and 2**32 - 1, not 0"),
        (2, 1 << 32, "seed must be between 1 and 2**32 - 1, not 4294967296"),
    ],
)
def test_options_out_of_range(images: int, seed: int, message: str) -> None:
    with pytest.raises(ToolError) as caught:
        VerifyOptions(images, seed=seed)
    assert str(caught.value) == f"error[bad-value]: {message}"
