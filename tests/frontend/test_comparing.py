"""`bitkiln report A B`: projects and reports side by side on the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bitkiln.frontend.pipeline import REPORT_JSON
from tests.projects import Outcome, Tiny

Run = Callable[..., Outcome]


@pytest.fixture(scope="module")
def report(tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a project whose report was made of the first steps."""
    # The fixture `bitkiln` is a function's, this one a module's.
    from bitkiln.cli import main  # noqa: PLC0415

    project = tiny.copy(tmp_path_factory.mktemp("compared") / "project")
    assert main(["run", str(project), "--until", "compress", "--json"]) == 0
    assert main(["report", str(project), "--json"]) == 0
    return project.parent


def test_a_project_and_a_report(report: Path, bitkiln: Run, tmp_path: Path) -> None:
    plain: dict[str, Any] = json.loads((report / "build" / REPORT_JSON).read_text())
    plain["model"]["name"], plain["storage"]["stored_bytes"] = "smaller", 10
    (tmp_path / "b.json").write_text(json.dumps(plain))
    page = tmp_path / "page.html"
    found = bitkiln("report", report, tmp_path / "b.json", "-o", page)
    assert found.code == 0
    lines = [line.split() for line in found.out.splitlines()]
    assert lines[0] == ["tiny", "smaller"]
    assert [line[-1] for line in lines if line[:2] == ["bytes", "stored"]] == ["*"]
    assert lines[-1] == ["page", str(page)]
    assert page.read_text().startswith("<!doctype html>")
    machine = json.loads(bitkiln("report", report, tmp_path / "b.json", "-o", page, "--json").out)
    assert [run["name"] for run in machine["runs"]] == ["tiny", "smaller"]
    assert machine["runs"][1]["stored_bytes"] == 10
    assert machine["best"]["stored_bytes"] == ["smaller"]
    assert machine["best"]["accuracy"] == []


def test_runs_of_one_name_are_told_apart_by_their_paths(report: Path, bitkiln: Run, tmp_path: Path) -> None:
    one, other = report / "project.toml", report / "build"
    found = bitkiln("report", one, other, "-o", tmp_path / "p.html", "--json")
    assert [run["name"] for run in json.loads(found.out)["runs"]] == [str(one), str(other)]


def test_wrong_runs(report: Path, tiny: Tiny, bitkiln: Run, tmp_path: Path) -> None:
    never, page = tiny.copy(tmp_path / "never"), tmp_path / "p.html"
    damaged = tmp_path / "damaged.json"
    damaged.write_text('{"format": 1')
    for path, slug, message in (
        (never, "missing-file", f"there is no report of {never} yet: {never.parent}/build/report.json is missing"),
        (tmp_path / "no.json", "missing-file", f"{tmp_path}/no.json is no file"),
        (tmp_path / "nothing", "missing-file", f"{tmp_path}/nothing is no file"),
        (damaged, "bad-artefact", f"{damaged} is not as it was written: "),
    ):
        found = bitkiln("report", report, path, "-o", page)
        assert (found.code, found.out) == (2, "")
        assert found.err.startswith(f"error[{slug}]: {message}")
        assert "\n  help: " in found.err
        assert not page.exists()


def test_one_run_has_its_page_where_its_artefacts_are(report: Path, bitkiln: Run) -> None:
    assert bitkiln("report", report, "-o", "x.html") == Outcome(
        2,
        "",
        "error[bad-arguments]: -o is for the page of several runs\n  help: [output] folder names another place\n",
    )
