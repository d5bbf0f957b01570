"""The accelerator of a Plan as files: Verilog for people and other tools, RTLIL for yosys, the plan beside them."""

from __future__ import annotations

import dataclasses
import json
import tempfile
from pathlib import Path

from bitkiln.ir import Plan, Stage, Stream, to_plain

from .accelerator import Accelerator
from .bundle import Bundle
from .stream_design import StreamDesign
from .toolchain import YOSYS

# What amaranth.back.verilog has yosys do; called here because only toolchain.py starts processes.
TO_VERILOG = (
    "read_rtlil top.il; proc -nomux -norom; memory_collect; "
    "attrmap -remove generator -remove src; write_verilog -norename top.v"
)


def generate_rtl(plan: Plan) -> Bundle:
    """Return `top.v`, `top.il` and `plan.json`; the same plan gives the same bytes.

    The module `top` has `clk`, `rst` and the streams `i` and `o` (payload, valid, ready). `plan.json` says what a
    beat of each holds. Raises ToolError `missing-tool`.
    """
    source = Bundle.of({"top.il": StreamDesign.of(Accelerator(plan)).rtlil.encode()})
    with tempfile.TemporaryDirectory(prefix="bitkiln-generate-") as temporary:
        folder = source.write(Path(temporary) / "rtl")
        YOSYS.run(("-q", "-p", TO_VERILOG), folder)
        verilog = (folder / "top.v").read_bytes()
    summary = json.dumps(plan_summary(plan), indent=1, sort_keys=True) + "\n"
    return source.merged(Bundle.of({"top.v": verilog, "plan.json": summary.encode()}))


def plan_summary(plan: Plan) -> dict[str, object]:
    """Return the Plan as plain data, without the weights."""
    return {
        "graph": plan.graph.name,
        "clock_hz": plan.clock_hz,
        "multipliers": plan.multipliers,
        "input": {"stream": plan.input_stream, "value": plan.input_value, "order": plan.input_order.tolist()},
        "output": {"stream": plan.output_stream, "value": plan.output_value, "order": plan.output_order.tolist()},
        "stages": [_plain_stage(stage) for stage in plan.stages],
        "streams": [_plain_stream(stream) for stream in plan.streams],
    }


def _plain_stage(stage: Stage) -> dict[str, object]:
    fields = [field.name for field in dataclasses.fields(stage.unit) if field.repr]  # weights and biases have no repr
    return {
        "name": stage.name,
        "kind": stage.unit.kind,
        "node": stage.node,
        "inputs": list(stage.inputs),
        "outputs": list(stage.outputs),
        "place": str(stage.loc),
        "unit": {name: to_plain(getattr(stage.unit, name)) for name in fields},
    }


def _plain_stream(stream: Stream) -> dict[str, object]:
    return {**to_plain(stream), "beat": to_plain(stream.beat), "bits": stream.beat.width, "is_memory": stream.is_memory}
