"""Runs side by side: differences to the first, the best of each line, and reports that are none."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from bitkiln.boards import ULX3S_85F, Resources
from bitkiln.ir import ToolError
from bitkiln.sim.comparison import METRICS, Line, Run, compare, read_run
from bitkiln.sim.comparison_page import render_comparison
from bitkiln.sim.report import Report
from tests.sim.test_report_page import HOSTILE, Page


def run_of(report: Report) -> Run:
    return read_run(json.loads(report.to_json()), "report.json")


@pytest.fixture(scope="module")
def other(full: Report) -> Report:
    """Smaller, slower to clock, and wrong more often."""
    assert full.accuracy is not None
    assert full.build is not None
    return replace(
        full,
        model=replace(full.model, name="small", params=100),
        accuracy=replace(full.accuracy, golden=0.97),
        build=replace(full.build, used=Resources(lut=1056, ff=900, bram=6, dsp=8), fmax_mhz=20.0),
    )


def by_name(lines: tuple[Line, ...]) -> dict[str, Line]:
    return {line.metric.name: line for line in lines}


def test_differences_and_the_best(full: Report, other: Report) -> None:
    lines = by_name(compare([run_of(full), run_of(other)]))
    assert [metric.name for metric in METRICS] == list(lines)
    accuracy, lut, fmax = lines["accuracy"], lines["lut"], lines["fmax_mhz"]
    assert (accuracy.texts, accuracy.is_best) == (("98.0 %", "97.0 % (-1.00)"), (True, False))
    assert (lut.texts, lut.is_best) == (("2,112", "1,056 (2x less)"), (False, True))
    assert (fmax.texts, fmax.is_best) == (("21.5", "20 (1.07x less)"), (True, False))
    assert lines["ff"].is_best == (False, False)  # they are equal
    assert lines["params"].texts == ("235", "100 (2.35x less)")


def test_resources_are_ranked_on_one_board_only(full: Report, other: Report) -> None:
    lines = by_name(compare([run_of(full), run_of(replace(other, board=ULX3S_85F))]))
    assert lines["lut"].is_best == lines["fmax_mhz"].is_best == (False, False)
    assert lines["accuracy"].is_best == (True, False)


def test_what_was_not_run_is_left_out(full: Report, bare: Report) -> None:
    lines = by_name(compare([run_of(full), run_of(bare), run_of(full)]))
    assert lines["accuracy"].texts == ("98.0 %", "-", "98.0 % (+0.00)")
    assert lines["energy_pj"].values[1] is None
    assert by_name(compare([run_of(bare), run_of(bare)])).keys() == {"params", "macs"}


def test_page(full: Report, other: Report) -> None:
    runs = [run_of(full), run_of(other)]
    text = render_comparison(runs)
    page = Page(text)
    assert text == render_comparison(runs)
    for reference in ("http:", "https:", "src=", "href=", "url(", "@import", "<link"):
        assert reference not in text
    assert '<td class="number best">1,056 (2x less)</td>' in text
    drawn = [value for tag, name, value in page.attributes if (tag, name) == ("svg", "aria-label")]
    assert drawn == ["Accuracy", "Parameters", "LUT", "Fmax, MHz"]
    assert "<script>alert" not in render_comparison([replace(runs[0], name=HOSTILE), runs[1]])


def slug_of(plain: object) -> tuple[str, str]:
    with pytest.raises(ToolError) as caught:
        read_run(plain, "r.json")
    (found,) = caught.value.diagnostics
    return found.slug, found.message


@pytest.mark.parametrize(
    ("key", "value", "slug", "message"),
    [
        ("format", 99, "report-format", "r.json is a report of another version: expected format 1, not 99"),
        ("format", None, "report-format", "r.json is a report of another version: expected format 1, not None"),
        ("model", {}, "bad-artefact", "r.json is not as it was written: model.name is missing"),
        ("model", 3, "bad-artefact", "r.json is not as it was written: a table is missing"),
        ("fmax_mhz", "fast", "bad-artefact", "r.json is not as it was written: fmax_mhz is no number"),
        ("fmax_mhz", True, "bad-artefact", "r.json is not as it was written: fmax_mhz is no number"),
        ("cycles", {"latency": 3}, "bad-artefact", "r.json is not as it was written: cycles.interval is missing"),
        ("resources", [], "bad-artefact", "r.json is not as it was written: a table is missing"),
        ("board", 7, "bad-artefact", "r.json is not as it was written: model.name or board is no text"),
    ],
)
def test_reports_that_are_none(full: Report, key: str, value: object, slug: str, message: str) -> None:
    plain: dict[str, Any] = json.loads(full.to_json())
    assert slug_of({**plain, key: value}) == (slug, message)


@pytest.mark.parametrize("plain", [[], {}, 3, None, {"format": 1}])
def test_other_files(plain: object) -> None:
    slug, message = slug_of(plain)
    assert slug == "report-format"
    assert message.startswith("r.json is no report: expected format 1, not ")
