"""Which steps of a run are done again: exactly those that what changed can reach."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from bitkiln.frontend.pipeline import ACCURACY, FLOAT_GRAPH, GRAPH, IMPORTED, KILN, Accuracies, Built, Pipeline
from bitkiln.frontend.project import load_project
from bitkiln.ir import ToolError, load_graph
from tests.projects import Outcome, Tiny

Run = Callable[..., Outcome]
Edit = Callable[[Path], None]

FIRST_STEPS = ("import", "compress", "simulate")


@pytest.fixture
def project(tiny: Tiny, tmp_path: Path, bitkiln: Run) -> Path:
    """A project whose first three steps are done."""
    project = tiny.copy(tmp_path / "project")
    assert run(bitkiln, project) == list(FIRST_STEPS)
    return project


def run(bitkiln: Run, project: Path, *options: str) -> list[str]:
    """The steps up to simulate that were not up to date."""
    found = bitkiln("run", project, "--until", FIRST_STEPS[-1], "--json", *options)
    assert found.code == 0, found.err
    steps: dict[str, bool] = json.loads(found.out)["steps"]
    assert tuple(steps) == tuple(sorted(FIRST_STEPS))
    shown = [line.split() for line in found.err.splitlines()]
    assert [line[0] for line in shown] == list(FIRST_STEPS)
    assert [line[1:] == ["up", "to", "date"] for line in shown] == [not steps[name] for name in FIRST_STEPS]
    return [name for name in FIRST_STEPS if steps[name]]


def replaced(old: str, new: str) -> Edit:
    def edit(folder: Path) -> None:
        file = folder / "project.toml"
        text = file.read_text()
        assert old in text
        file.write_text(text.replace(old, new, 1))

    return edit


def written(name: str, text: str) -> Edit:
    def edit(folder: Path) -> None:
        (folder / name).write_text(text)

    return edit


def other_weights(folder: Path) -> None:
    state = load_file(folder / "weights.safetensors")
    save_file({name: tensor * 0.75 for name, tensor in state.items()}, folder / "weights.safetensors")


def touched(folder: Path) -> None:
    for name in ("model.py", "project.toml", "weights.safetensors", f"build/{GRAPH}"):
        os.utime(folder / name, (0, 0))


@pytest.mark.parametrize(
    ("edit", "steps"),
    [
        (touched, []),
        (written("README.md", "notes"), []),
        (replaced("[verify]\nimages = 4", "[verify]\nimages = 5"), []),
        (replaced("[verify]", '[build]\nboard = "icebreaker"\n[verify]'), ["simulate"]),
        (written("layers.py", "x = 1\n"), ["import"]),
        (replaced("[data]", "# samples\n[data]"), []),
        (other_weights, list(FIRST_STEPS)),
        (replaced('"model.py:build"', '"model.py"'), ["import"]),
        (replaced('name = "tiny"', 'name = "small"'), list(FIRST_STEPS)),
        (replaced("[[passes]]", "test_limit = 300\n[[passes]]"), ["compress"]),
        (replaced("weight_bits = 8", "weight_bits = 5"), ["compress", "simulate"]),
        (replaced("max_multipliers = 8", "max_multipliers = 4"), ["simulate"]),
        (replaced("[verify]", '[simulate]\ntechnology = "65nm"\n[verify]'), ["simulate"]),
    ],
    ids=lambda value: "" if callable(value) else ",".join(value) or "none",
)
def test_what_is_done_again(edit: Edit, steps: list[str], project: Path, bitkiln: Run) -> None:
    edit(project.parent)
    assert run(bitkiln, project) == steps
    assert run(bitkiln, project) == []


def test_force(project: Path, bitkiln: Run) -> None:
    before = (project.parent / "build" / GRAPH).read_bytes()
    assert run(bitkiln, project, "--force") == list(FIRST_STEPS)
    assert (project.parent / "build" / GRAPH).read_bytes() == before


def test_another_output_folder(project: Path, bitkiln: Run, tmp_path: Path) -> None:
    assert run(bitkiln, project, "-o", str(tmp_path / "other")) == list(FIRST_STEPS)
    names = {FLOAT_GRAPH, IMPORTED, GRAPH, KILN, ACCURACY, "cycles.json"}
    for folder in (tmp_path / "other", project.parent / "build"):
        assert {file.name for file in folder.iterdir()} == {*names, ".steps"}
    assert all(
        (tmp_path / "other" / name).read_bytes() == (project.parent / "build" / name).read_bytes() for name in names
    )


@pytest.mark.parametrize("size", [0, 100])
@pytest.mark.parametrize(("name", "step"), [(FLOAT_GRAPH, "import"), (GRAPH, "compress"), ("cycles.json", "simulate")])
def test_damaged_artefacts_are_made_again(name: str, step: str, size: int, project: Path, bitkiln: Run) -> None:
    file = project.parent / "build" / name
    content = file.read_bytes()
    file.write_bytes(content[:size])
    assert run(bitkiln, project) == [step]
    assert file.read_bytes() == content


def test_files_have_the_mode_that_the_user_chose(project: Path) -> None:
    assert {file.stat().st_mode & 0o777 for file in (project.parent / "build").glob("*.json")} == {0o666 & ~_umask()}


def _umask() -> int:
    umask = os.umask(0)
    os.umask(umask)
    return umask


def test_artefacts(project: Path) -> None:
    pipeline = Pipeline(load_project(project))
    tested = pipeline.read(Accuracies, ACCURACY)
    assert tested is not None
    assert tested.images == 364
    assert tested.float_ > 0.8 < tested.golden
    assert pipeline.read(Built, "build.json") is None
    graphs = [load_graph(pipeline.folder / name) for name in (FLOAT_GRAPH, GRAPH)]
    assert [graph.name for graph in graphs] == ["tiny", "tiny"]
    assert [str(node.loc) for node in graphs[1].nodes if node.op.name == "conv2d"] == [
        f"{project.parent}/model.py:11 (conv)"
    ]
    cycles = json.loads((pipeline.folder / "cycles.json").read_text())
    assert cycles["interval"] == pipeline.design.interval_cycles > 0


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "error[bad-artefact]: {file} is not as it was written: Expecting value: line 1 column 1 (char 0)"),
        ("{}", "error[missing-key]: {file}: the key 'float_' is missing"),
        ('{"float_": "high"}', "error[bad-value]: {file}.float_: expected number, not 'high'"),
    ],
)
def test_an_artefact_that_says_something_else(content: str, message: str, project: Path) -> None:
    pipeline = Pipeline(load_project(project))
    file = pipeline.folder / ACCURACY
    file.write_text(content)
    with pytest.raises(ToolError) as caught:
        pipeline.read(Accuracies, ACCURACY)
    assert str(caught.value).startswith(message.format(file=file))
