"""The accelerator of a Plan as files: Verilog for people and other tools, RTLIL for yosys, the plan beside them."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from bitkiln.ir import Plan

from .accelerator import Accelerator
from .bundle import Bundle
from .plan_summary import plan_summary
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
