"""`bitkiln list`: what there is to use."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from bitkiln.ir import ToolError

from .terminal import Terminal, table

Rows = list[dict[str, object]]


def list_things(arguments: argparse.Namespace, terminal: Terminal) -> int:
    """Show one of the explicit tuples of things."""
    things: dict[str, Callable[[], Rows]] = {
        "ops": _ops,
        "passes": _passes,
        "units": _units,
        "boards": _boards,
        "tools": _tools,
        "accelerators": _accelerators,
        "technologies": _technologies,
    }
    rows = things[arguments.what]()
    columns = tuple(rows[0])
    terminal.result(rows, table("", columns, [[row[column] for column in columns] for row in rows]))
    return 0


def _summary(thing: type) -> str:
    return (thing.__doc__ or "").strip().splitlines()[0]


def _ops() -> Rows:
    from bitkiln.ir.ops import OPS  # noqa: PLC0415

    return [{"name": op.name, "what": _summary(op)} for op in OPS]


def _passes() -> Rows:
    from bitkiln.passes import PASSES  # noqa: PLC0415

    return [{"name": step.name, "keeps": step.keeps.value, "what": _summary(step)} for step in PASSES]


def _units() -> Rows:
    from bitkiln.ir.units import UNITS  # noqa: PLC0415

    return [{"name": unit.kind, "what": _summary(unit)} for unit in UNITS]


def _boards() -> Rows:
    from bitkiln.boards import BOARDS, VENDOR_BOARDS  # noqa: PLC0415

    return [
        {
            "name": board.name,
            "what": board.title,
            "tools": tools,
            "clock_mhz": board.clock_hz / 1e6,
            **{kind.value: count for kind, count in board.resources},
        }
        for boards, tools in ((BOARDS, "open"), (VENDOR_BOARDS, "Vivado: generated, not run"))
        for board in boards
    ]


def _tools() -> Rows:
    from bitkiln.hdl.toolchain import TOOLS  # noqa: PLC0415

    rows: Rows = []
    for tool in TOOLS:
        try:
            rows.append({"name": tool.name, "version": tool.version(), "override": tool.env})
        except ToolError as error:
            rows.append({"name": tool.name, "version": f"missing: {error.diagnostics[0].hint}", "override": tool.env})
    return rows


def _accelerators() -> Rows:
    from bitkiln.sim.accelerator import ACCELERATORS, find_accelerator  # noqa: PLC0415

    found = [find_accelerator(name) for name in ACCELERATORS]
    return [
        {
            "name": accelerator.name,
            "what": accelerator.title,
            "engine": accelerator.engine_name,
            "clock_mhz": accelerator.clock_hz / 1e6,
            "sram_bytes": sum(sram.capacity_bytes for sram in accelerator.sram),
            "technology": accelerator.technology,
        }
        for accelerator in found
    ]


def _technologies() -> Rows:
    from bitkiln.sim.technologies import TABLES, find_technology  # noqa: PLC0415

    found = [find_technology(name) for name in TABLES]
    return [
        {
            "name": technology.name,
            "what": technology.title,
            "unit": technology.unit.value,
            "entries": len(list(technology.entries())),
            "unsourced": sum(not price.is_sourced for _, price in technology.entries()),
        }
        for technology in found
    ]
