"""Runs side by side: the figures of their reports, and which is best in what."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from bitkiln.ir import fail

from ._format import NONE, bytes_text, count_text, energy_text, number_text, percent_text, rate_text, ratio_text
from ._report_json import FORMAT

_SAME = 0.0005


@dataclass(frozen=True)
class Metric:
    """One figure: where it stands in report.json, how it is written, and whether less of it is better.

    `is_device` figures count what a device is made of, so they are compared on one board only. `is_share` figures
    differ by points, others by how many times.
    """

    name: str
    title: str
    path: tuple[str, ...]
    text: Callable[[float], str]
    is_less_better: bool = True
    is_device: bool = False
    is_share: bool = False


def _whole(value: float) -> str:
    return count_text(round(value))


METRICS = (
    Metric("accuracy", "accuracy", ("accuracy", "golden"), percent_text, is_less_better=False, is_share=True),
    Metric("params", "parameters", ("model", "params"), _whole),
    Metric("macs", "MACs an image", ("model", "macs"), _whole),
    Metric("stored_bytes", "bytes stored", ("storage", "stored_bytes"), bytes_text),
    Metric("latency", "latency, cycles", ("cycles", "latency"), _whole),
    Metric("interval", "interval, cycles", ("cycles", "interval"), _whole),
    Metric("images_per_second", "images a second", ("images_per_second",), rate_text, is_less_better=False),
    Metric("energy_pj", "energy an image", ("energy", "total_pj"), energy_text),
    Metric("lut", "LUT", ("resources", "lut", "used"), _whole, is_device=True),
    Metric("ff", "flip-flops", ("resources", "ff", "used"), _whole, is_device=True),
    Metric("bram", "block RAM", ("resources", "bram", "used"), _whole, is_device=True),
    Metric("dsp", "DSP", ("resources", "dsp", "used"), _whole, is_device=True),
    Metric("fmax_mhz", "Fmax, MHz", ("fmax_mhz",), number_text, is_less_better=False, is_device=True),
    Metric("mismatches", "RTL mismatches", ("verify", "mismatches"), _whole),
)
"""In the order of the table."""


@dataclass(frozen=True)
class Run:
    """One report: `values` are by METRICS, None for what was not run."""

    name: str
    board: str | None
    values: tuple[float | None, ...]


@dataclass(frozen=True)
class Line:
    """One metric of all runs: `texts` say the difference to the first run, `is_best` whether no run is better."""

    metric: Metric
    values: tuple[float | None, ...]
    texts: tuple[str, ...]
    is_best: tuple[bool, ...]


def read_run(plain: object, where: str) -> Run:
    """Take the figures out of a report.json. `where` names it for messages.

    Raises ToolError `report-format` for what another version wrote, and `bad-artefact` for what none did.
    """
    found = plain.get("format") if isinstance(plain, dict) else None
    if not isinstance(plain, dict) or "model" not in plain or found != FORMAT:
        kind = "no report" if not isinstance(plain, dict) or "model" not in plain else "a report of another version"
        message = f"{where} is {kind}: expected format {FORMAT}, not {found!r}"
        raise fail("report-format", message, hint="`bitkiln report PROJECT` writes it anew")
    board = plain.get("board")
    name = _at(plain, ("model", "name"), where)
    if not isinstance(name, str) or not isinstance(board, str | None):
        raise _damaged(where, "model.name or board is no text")
    return Run(name, board, tuple(_number(plain, metric, where) for metric in METRICS))


def _number(plain: Mapping[str, object], metric: Metric, where: str) -> float | None:
    if metric.path[0] == "resources" and metric.path[1] not in _table(plain.get("resources"), where):
        return None  # the board has none of it, or there is no board
    value = _at(plain, metric.path, where)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise _damaged(where, f"{'.'.join(metric.path)} is no number")
    return float(value)


def _at(plain: object, path: Sequence[str], where: str) -> object:
    for depth, key in enumerate(path):
        table = _table(plain, where)
        if key not in table:
            raise _damaged(where, f"{'.'.join(path[: depth + 1])} is missing")
        plain = table[key]
    return plain


def _table(plain: object, where: str) -> Mapping[str, object]:
    if not isinstance(plain, dict):
        raise _damaged(where, "a table is missing")
    return plain


def _damaged(where: str, reason: str) -> Exception:
    hint = "`bitkiln report PROJECT` writes it anew"
    return fail("bad-artefact", f"{where} is not as it was written: {reason}", hint=hint)


def compare(runs: Sequence[Run]) -> tuple[Line, ...]:
    """Return a line for each metric that any run has."""
    columns = zip(*(run.values for run in runs), strict=True)
    lines = [_line(metric, values, runs) for metric, values in zip(METRICS, columns, strict=True)]
    return tuple(line for line in lines if any(value is not None for value in line.values))


def _line(metric: Metric, values: tuple[float | None, ...], runs: Sequence[Run]) -> Line:
    texts = tuple(_text(metric, value, values[0], index == 0) for index, value in enumerate(values))
    known = [value for value in values if value is not None]
    is_comparable = not metric.is_device or len({run.board for run in runs}) == 1
    if len(set(known)) < 2 or not is_comparable:
        return Line(metric, values, texts, (False,) * len(values))
    best = min(known) if metric.is_less_better else max(known)
    return Line(metric, values, texts, tuple(value == best for value in values))


def _text(metric: Metric, value: float | None, first: float | None, is_first: bool) -> str:
    """The value, and what it is against that of the first run."""
    if value is None:
        return NONE
    text = metric.text(value)
    if is_first or first is None:
        return text
    if metric.is_share:
        return f"{text} ({100 * (value - first):+.2f})"
    if value == first or not value or not first:
        return text
    ratio = value / first
    if abs(ratio - 1) < _SAME:
        return f"{text} (1x)"
    return f"{text} ({ratio_text(ratio)})" if ratio > 1 else f"{text} ({ratio_text(1 / ratio)} less)"
