"""`bitkiln report A B ...`: runs side by side, each a project or a report.json."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich.text import Text

from bitkiln.ir import fail, write_whole
from bitkiln.sim.comparison import METRICS, Line, Run, compare, read_run
from bitkiln.sim.comparison_page import render_comparison

from .pipeline import REPORT_JSON
from .project import load_project
from .terminal import Terminal, table

PAGE = Path("comparison.html")


def compare_command(arguments: argparse.Namespace, terminal: Terminal) -> int:
    """Read the reports, write the page, show the table. Nothing is made anew."""
    files = [report_file(path) for path in arguments.project]
    runs = _named([load_run(file) for file in files], arguments.project)
    page = arguments.output or PAGE
    write_whole(page, render_comparison(runs).encode())
    lines = compare(runs)
    plain = {
        "runs": [
            {
                "name": run.name,
                "file": str(file),
                "board": run.board,
                **{metric.name: value for metric, value in zip(METRICS, run.values, strict=True)},
            }
            for run, file in zip(runs, files, strict=True)
        ],
        "best": {line.metric.name: _best(line, runs) for line in lines},
        "page": str(page),
    }
    rows = [[line.metric.title, *map(_cell, line.texts, line.is_best)] for line in lines]
    terminal.result(plain, table("", ["", *(run.name for run in runs)], rows), "* best", f"page      {page}")
    return 0


def report_file(path: Path) -> Path:
    """Return the report.json that a path of the command line means: itself, that of a project, or of its output folder.

    Raises ToolError `missing-file` for a project that was never run to its report.
    """
    if path.suffix == ".json":
        return path
    beside = path / REPORT_JSON
    if beside.is_file():
        return beside
    file = load_project(path).output / REPORT_JSON
    if not file.is_file():
        message = f"there is no report of {path} yet: {file} is missing"
        raise fail("missing-file", message, hint=f"bitkiln run {path}")
    return file


def load_run(file: Path) -> Run:
    """Read one report; raises ToolError `missing-file`, `bad-artefact` or `report-format`."""
    try:
        plain: object = json.loads(file.read_bytes())
    except FileNotFoundError:
        raise fail("missing-file", f"{file} is no file", hint="a project, or the report.json of a run") from None
    except (ValueError, RecursionError) as error:
        message = f"{file} is not as it was written: {error}"
        raise fail("bad-artefact", message, hint="`bitkiln report PROJECT` writes it anew") from None
    return read_run(plain, str(file))


def _named(runs: Sequence[Run], paths: Sequence[Path]) -> list[Run]:
    """Networks of one name are told apart by what the user typed."""
    names = [run.name for run in runs]
    return [
        replace(run, name=str(path)) if names.count(run.name) > 1 else run
        for run, path in zip(runs, paths, strict=True)
    ]


def _best(line: Line, runs: Sequence[Run]) -> list[str]:
    return [run.name for run, is_best in zip(runs, line.is_best, strict=True) if is_best]


def _cell(text: str, is_best: bool) -> Text:
    return Text(f"{text} *", "green") if is_best else Text(text)
