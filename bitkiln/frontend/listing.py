"""`bitkiln list`: what there is to use."""

from __future__ import annotations

import argparse

from bitkiln.ir import ToolError

from .terminal import Terminal, table

Rows = list[dict[str, object]]


def list_things(arguments: argparse.Namespace, terminal: Terminal) -> int:
    """Show one of the explicit tuples of things."""
    rows = {"ops": _ops, "passes": _passes, "units": _units, "boards": _boards, "tools": _tools}[arguments.what]()
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
    from bitkiln.boards import BOARDS  # noqa: PLC0415

    return [
        {
            "name": board.name,
            "what": board.title,
            "clock_mhz": board.clock_hz / 1e6,
            **{kind.value: count for kind, count in board.resources},
        }
        for board in BOARDS
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
