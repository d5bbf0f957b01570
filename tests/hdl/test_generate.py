"""The files of an accelerator: the summary of its plan, the ports of its Verilog, the same bytes each time."""

from __future__ import annotations

import json
import re
from dataclasses import fields
from pathlib import Path

import pytest

pytest.importorskip("amaranth", reason='RTL needs pip install "bitkiln[rtl]"')

from bitkiln.hdl.generate import generate_rtl
from bitkiln.hdl.plan_summary import plan_summary
from bitkiln.ir import Plan, load_graph
from bitkiln.passes.schedule import PlanOptions, schedule
from bitkiln.sim.queues import size_queues
from tests.projects import Tiny


@pytest.fixture(scope="module")
def plan(tiny: Tiny) -> Plan:
    return size_queues(schedule(load_graph(tiny.graph), PlanOptions(max_multipliers=8)))


def test_the_summary_is_plain_data_without_weights(plan: Plan, tiny: Tiny) -> None:
    summary = json.loads(json.dumps(plan_summary(plan)))
    assert summary["graph"] == "model"
    assert summary["clock_hz"] == 12e6
    assert summary["multipliers"] == plan.multipliers <= 8
    assert summary["input"] == {"stream": "input", "value": "images_quantise", "order": list(range(64))}
    assert sorted(summary["output"]["order"]) == list(range(10))
    assert [stage["kind"] for stage in summary["stages"]] == ["window", "matrix_vector", "matrix_vector"]
    conv = summary["stages"][1]
    place = f"{tiny.folder / 'model.py'}:11 (conv)"
    assert (conv["name"], conv["node"], conv["place"]) == ("conv", "relu", place)
    assert {"weights", "bias"}.isdisjoint(conv["unit"])
    assert conv["unit"]["pe"] * conv["unit"]["simd"] + summary["stages"][2]["unit"]["pe"] <= 8


def test_the_summary_has_every_stream(plan: Plan) -> None:
    streams = {stream["name"]: stream for stream in plan_summary(plan)["streams"]}  # type: ignore[attr-defined]  # plain
    assert list(streams) == [stream.name for stream in plan.streams]
    assert streams["input"] == {
        "name": "input",
        "beat": {"lanes": 1, "bits": 8, "signed": False},
        "beats": 64,
        "bits": 8,
        "depth": plan.stream["input"].depth,
        "is_memory": False,
    }


@pytest.mark.tools("yosys")
def test_files(plan: Plan, tmp_path: Path) -> None:
    bundle = generate_rtl(plan)
    assert bundle.paths == ("plan.json", "top.il", "top.v")
    assert json.loads(bundle["plan.json"]) == plan_summary(plan)
    assert str(tmp_path).encode() not in bundle["top.v"]
    top = re.findall(r"^module top\(.*?^endmodule", bundle["top.v"].decode(), re.MULTILINE | re.DOTALL)
    assert len(top) == 1
    ports = ("clk", "rst", *(f"{end}__{name}" for end in "io" for name in ("payload", "valid", "ready")))
    assert sorted(top[0].partition("(")[2].partition(")")[0].split(", ")) == sorted(ports)
    sizes = {name: size for size, name in re.findall(r"^  (?:in|out)put (?:\[(\d+):0\] )?([io]__\w+);", top[0], re.M)}
    widths = {end: plan.stream[stream].beat.width for end, stream in (("i", "input"), ("o", "output"))}
    assert {end: int(sizes[f"{end}__payload"]) + 1 for end in "io"} == widths


@pytest.mark.tools("yosys")
def test_the_same_plan_gives_the_same_bytes(plan: Plan, tiny: Tiny) -> None:
    again = size_queues(schedule(load_graph(tiny.graph), PlanOptions(max_multipliers=8)))
    assert generate_rtl(again).digest() == generate_rtl(plan).digest()
    other = size_queues(schedule(load_graph(tiny.graph), PlanOptions(max_multipliers=4)))
    assert generate_rtl(other).digest() != generate_rtl(plan).digest()


def test_every_field_of_a_unit_is_in_the_summary_or_has_no_repr(plan: Plan) -> None:
    for stage, shown in zip(plan.stages, plan_summary(plan)["stages"], strict=True):  # type: ignore[call-overload]  # plain
        assert set(shown["unit"]) == {field.name for field in fields(stage.unit) if field.repr}
