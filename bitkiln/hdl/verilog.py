"""RTLIL to Verilog, as amaranth.back.verilog does it; here because only toolchain.py starts processes."""

from __future__ import annotations

import tempfile
from pathlib import Path

from .bundle import Bundle
from .toolchain import YOSYS

TO_VERILOG = (
    "read_rtlil top.il; proc -nomux -norom; memory_collect; "
    "attrmap -remove generator -remove src; write_verilog -norename top.v"
)


def to_verilog(rtlil: str) -> bytes:
    """Return the Verilog of RTLIL; the same text gives the same bytes. Raises ToolError `missing-tool`."""
    with tempfile.TemporaryDirectory(prefix="bitkiln-generate-") as temporary:
        folder = Bundle.of({"top.il": rtlil.encode()}).write(Path(temporary) / "rtl")
        YOSYS.run(("-q", "-p", TO_VERILOG), folder)
        return (folder / "top.v").read_bytes()
