"""The accelerator of a Plan as files: Verilog for people and other tools, RTLIL for yosys, the plan beside them."""

from __future__ import annotations

import json

from amaranth.back import rtlil

from bitkiln.ir import Plan

from .accelerator import Accelerator
from .bundle import Bundle
from .plan_summary import plan_summary
from .verilog import to_verilog
from .weights import weights_of


def generate_rtl(plan: Plan) -> Bundle:
    """Return `top.v`, `top.il` and `plan.json`, and `weights.bin` if there is something to load; always the same bytes.

    The module `top` has `clk`, `rst` and the streams `i` and `o` (payload, valid, ready). `plan.json` says what a
    beat of each holds. A plan whose weights the host loads has the inputs `load` besides (see `LOAD_BUS`): `start`,
    then the numbers of 16 bits in `weights.bin`, little endian, one in each cycle with `valid`, and after them the
    first image. Raises ToolError `missing-tool`.
    """
    text = rtlil.convert(Accelerator(plan), name="top", emit_src=False)
    files = {"top.il": text.encode(), "top.v": to_verilog(text), "plan.json": plan_json(plan)}
    weights = weights_of(plan).data
    return Bundle.of(files | ({"weights.bin": weights} if weights else {}))


def plan_json(plan: Plan) -> bytes:
    """Return the summary as a file."""
    return (json.dumps(plan_summary(plan), indent=1, sort_keys=True) + "\n").encode()
