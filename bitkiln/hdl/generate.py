"""The accelerator of a Plan as files: Verilog for people and other tools, RTLIL for yosys, the plan beside them."""

from __future__ import annotations

import json

from bitkiln.ir import Plan

from .accelerator import Accelerator
from .bundle import Bundle
from .plan_summary import plan_summary
from .stream_design import StreamDesign
from .verilog import to_verilog


def generate_rtl(plan: Plan) -> Bundle:
    """Return `top.v`, `top.il` and `plan.json`; the same plan gives the same bytes.

    The module `top` has `clk`, `rst` and the streams `i` and `o` (payload, valid, ready). `plan.json` says what a
    beat of each holds. Raises ToolError `missing-tool`.
    """
    rtlil = StreamDesign.of(Accelerator(plan)).rtlil
    files = {"top.il": rtlil.encode(), "top.v": to_verilog(rtlil), "plan.json": plan_json(plan)}
    return Bundle.of(files)


def plan_json(plan: Plan) -> bytes:
    """Return the summary as a file."""
    return (json.dumps(plan_summary(plan), indent=1, sort_keys=True) + "\n").encode()
