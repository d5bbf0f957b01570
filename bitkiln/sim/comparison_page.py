"""Runs side by side as one HTML file that needs no network."""

from __future__ import annotations

from collections.abc import Sequence

from ._charts import Chart, Part, Point, Row, bar_chart, dot_chart
from ._format import NONE
from .comparison import Line, Run, compare
from .report_page import page_template

_MARGIN = 0.25
_LEAST_RANGE = 0.005
DIFFERENCE_RULE = (
    "In brackets: how many times as much as the first run has, or less; of accuracies, the difference in points. "
    "The best of a line is marked. Resources and clocks are only ranked on one board."
)


def render_comparison(runs: Sequence[Run]) -> str:
    """Return the page: a table, and a chart for each metric in which they differ; the same runs give the same text."""
    lines = compare(runs)
    boards = dict.fromkeys(run.board for run in runs if run.board)
    return page_template("comparison.html.j2").render(
        kind="comparison",
        name=" · ".join(run.name for run in runs),
        subtitle=", ".join(filter(None, (f"{len(runs)} runs", *boards))),
        rule=DIFFERENCE_RULE,
        names=[run.name for run in runs],
        lines=[(line.metric.title, list(zip(line.texts, map(_css, line.is_best), strict=True))) for line in lines],
        charts=[_chart(line, runs) for line in lines if any(line.is_best)],
    )


def _css(is_best: bool) -> str:
    return "number best" if is_best else "number"


def _chart(line: Line, runs: Sequence[Run]) -> Chart:
    title = line.metric.title[0].upper() + line.metric.title[1:]
    rank = "Less is better." if line.metric.is_less_better else "More is better."
    cells = list(zip(runs, line.values, line.texts, line.is_best, strict=True))
    if line.metric.is_share:
        known = [value for value in line.values if value is not None]
        room = max(_LEAST_RANGE, max(known) - min(known)) * _MARGIN
        low, high = max(0.0, min(known) - room), min(1.0, max(known) + room)
        points = [
            Point(run.name, text, value, _colour(best), f"{run.name}: {text}")
            for run, value, text, best in cells
            if value is not None
        ]
        note = f"{rank} The scale is from {line.metric.text(low)} to {line.metric.text(high)}."
        return dot_chart(title, note, points, low, high, rule=low)
    rows = [
        Row(run.name, text, (Part(value or 0.0, _colour(best), f"{run.name}: {text}"),) if text != NONE else ())
        for run, value, text, best in cells
    ]
    return bar_chart(title, rank, rows)


def _colour(is_best: bool) -> str:
    return "good" if is_best else "busy"
