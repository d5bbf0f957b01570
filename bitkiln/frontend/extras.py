"""The parts of bitkiln that need more than the base install, and how to get them."""

from __future__ import annotations

from collections.abc import Mapping

from bitkiln.ir import ToolError, fail

EXTRAS: Mapping[str, str] = {
    "amaranth": "rtl",
    "amaranth_boards": "boards",
    "cocotb": "rtl",
    "cocotb_tools": "rtl",
    "cocotbext": "rtl",
}
"""The extra that brings a Python package which the base install lacks."""


def missing_extra(error: ModuleNotFoundError) -> ToolError | None:
    """Return what to tell the user if the import failed for want of an extra; None if it is a mistake of ours."""
    package = (error.name or "").partition(".")[0]
    if package not in EXTRAS:
        return None
    message = f"this needs the Python package {package}, which is not installed"
    return fail("missing-extra", message, hint=f'pip install "bitkiln[{EXTRAS[package]}]"')
