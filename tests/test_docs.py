"""The documentation: the site builds without a warning, and what its pages list is what the source has."""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import io
import re
import tomllib
import warnings
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from bitkiln.frontend.compressing import read_pass_texts
from bitkiln.hdl.random_network import RandomNetwork
from bitkiln.ir.units import UNITS, Process, Unit
from bitkiln.passes import PASSES, Pass, read_passes, schedule
from bitkiln.sim.accelerator import (
    Dram,
    Eie,
    Numbers,
    RowStationary,
    Sram,
    Streaming,
    Systolic,
    Vector,
    Xnor,
    ZeroSkip,
)
from docs.site.errors import ROOT, calls, meanings, slugs, trees
from docs.site.units import PAGES, Sequencer, UnitPage

DOCS = ROOT / "docs"
COMPRESSION = DOCS / "compression.md"


def build(source: Path, target: Path) -> tuple[int, str]:
    """Build the site as `make docs` does, in this process, which has torch; return the exit code and all warnings."""
    sphinx = pytest.importorskip("sphinx.cmd.build", reason='the site needs pip install "bitkiln[docs]"')
    said = io.StringIO()
    with warnings.catch_warnings(), contextlib.redirect_stderr(said):
        warnings.simplefilter("ignore")  # of Sphinx and its packages, among themselves
        code: int = sphinx.build_main(["-q", "-W", "--keep-going", "-c", str(DOCS), str(source), str(target)])
    return code, said.getvalue()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("docs") / "site"
    assert build(ROOT, target) == (0, "")
    return target


@pytest.mark.slow
def test_every_page_is_built_and_none_loads_anything_from_elsewhere(site: Path) -> None:
    pages = sorted(site.rglob("*.html"))
    assert {site / "docs" / f"{page.stem}.html" for page in DOCS.glob("*.md")} <= set(pages)
    loads = re.compile(r"<(?:script|img|iframe|link)\b[^>]*?(?:src|href)=\"((?:https?:)?//[^\"]*)\"")
    assert [(page.name, url) for page in pages for url in loads.findall(page.read_text("utf-8"))] == []
    sheets = [sheet.read_text("utf-8") for sheet in site.rglob("*.css")]
    assert [
        url for sheet in sheets for url in re.findall(r"(?:@import|url\()\s*[\"']?(?:https?:)?//[^)\"']*", sheet)
    ] == []


def test_wrong_links_and_pages_that_nothing_leads_to_are_errors(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "index.md").write_text(
        "# A\n\n```{toctree}\nb\n```\n\n[no page](c.md) [no place](b.md#there)\n"
    )
    (tmp_path / "docs" / "b.md").write_text("# B\n\n[no place](#here)\n")
    (tmp_path / "docs" / "lost.md").write_text("# Lost\n")
    code, said = build(tmp_path, tmp_path / "site")
    assert code == 1
    for what in ("target not found: 'c.md'", "'there'", "'here'", "lost.md: WARNING: document isn't included"):
        assert what in said
    assert said.count("WARNING: ") == 4


def test_every_slug_has_its_meaning_and_no_other() -> None:
    named = [slug for part in meanings().values() for slug in part]
    assert sorted(named) == sorted(slugs())


def test_every_slug_can_be_read_off_the_source() -> None:
    """A slug that is computed would be missing from the page."""
    is_plain = re.compile(r"slug|_slug\(.*\)|'[a-z0-9-]+'( if .* else '[a-z0-9-]+')?")
    hidden = [
        f"{file}:{call.lineno}: {ast.unparse(call)}"
        for file, tree in trees().items()
        for name, call in calls(tree)
        if name in ("fail", "Diagnostic") and not is_plain.fullmatch(ast.unparse(call.args[0]))
    ]
    assert hidden == []


SEEDS = range(1, 60)


@cache
def random_units() -> dict[str, list[Unit]]:
    """Units of random networks, by kind."""
    found: dict[str, list[Unit]] = {unit.kind: [] for unit in UNITS}
    for seed in SEEDS:
        network = RandomNetwork.drawn(seed)
        graph = network.graph()
        for stage in schedule(graph, network.plan_options(graph)).stages:
            found[stage.unit.kind].append(stage.unit)
    return found


def value(formula: str, unit: Unit, **names: int) -> int:
    """Compute one of our own formulas, whose names are attributes of the unit, or are given."""
    scope = {name: getattr(unit, name) for name in dir(unit) if not name.startswith("_")}
    return int(eval(formula, {}, scope | names))


def declared(unit: Unit, page: tuple[Sequencer, ...]) -> Iterator[tuple[Sequencer, Process, int]]:
    """Each sequencer that the unit declares, with that of its page and, of elements, the number."""
    of_name = {sequencer.name: sequencer for sequencer in page}
    for process in unit.timing():
        is_element = process.name.startswith("element ")
        yield (
            of_name["element p" if is_element else process.name],
            process,
            int(process.name.split()[1]) if is_element else 0,
        )


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.kind)
def test_timing_of_a_unit_is_as_declared(page: UnitPage) -> None:
    units = random_units()[page.kind]
    assert units != []
    for unit in units:
        for sequencer, process, number in declared(unit, page.sequencers):
            assert value(sequencer.steps, unit, p=number) == process.steps
            latencies = {output.latency for _, output in process.outputs}
            boxes = sum(value(box.cycles, unit) for box in sequencer.boxes if box.cycles)
            given = {value(sequencer.latency, unit)} if sequencer.latency else set()
            assert latencies == given == ({boxes} if sequencer.latency else set())


def test_every_unit_has_its_section() -> None:
    assert [page.kind for page in PAGES] == [unit.kind for unit in UNITS]


@pytest.mark.parametrize("kind", PASSES, ids=lambda kind: kind.name)
def test_every_pass_is_explained_with_an_example(kind: type[Pass]) -> None:
    text = COMPRESSION.read_text("utf-8")
    assert re.search(rf"^##.*`{kind.name}`", text, re.MULTILINE)
    assert re.search(rf"--pass '{kind.name}\b|name = \"{kind.name}\"", text)


def recipes() -> list[str]:
    return re.findall(r"^```toml\n(.*?)^```", COMPRESSION.read_text("utf-8"), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("recipe", recipes())
def test_a_recipe_can_be_read(recipe: str) -> None:
    assert read_passes(tomllib.loads(recipe)["passes"], "compression.md") != ()


def test_passes_on_command_lines_can_be_read() -> None:
    texts = [text for page in DOCS.glob("*.md") for text in re.findall(r"--pass '([^']*)'", page.read_text("utf-8"))]
    assert {kind.name for kind in PASSES} >= {step.name for text in texts for step in read_pass_texts([text])} != set()


ACCELERATOR_TABLES = {
    "[numbers]": Numbers,
    "[[sram]]": Sram,
    "[dram]": Dram,
    "[systolic]": Systolic,
    "[vector]": Vector,
    "[row_stationary]": RowStationary,
    "[eie]": Eie,
    "[zero_skip]": ZeroSkip,
    "[xnor]": Xnor,
    "[streaming]": Streaming,
}


def test_every_key_of_an_accelerator_is_in_its_reference() -> None:
    listed: dict[str, set[str]] = {}
    part = ""
    for line in (DOCS / "accelerators.md").read_text("utf-8").splitlines():
        heading = re.match(r"## `(.*)`|\| `(\[.*\])` \|", line)
        part = (heading[1] or heading[2]) if heading else part
        cells = line.split("|")
        if len(cells) > 3:
            keys = cells[2] if cells[1].strip() in ("", f"`{part}`") else cells[1]
            listed.setdefault(part, set()).update(re.findall(r"`(\w+)`", keys))
    for table, kind in ACCELERATOR_TABLES.items():
        assert {field.name for field in dataclasses.fields(kind)} <= listed[table], table
