"""project.toml: everything that `bitkiln run` needs to know, read into the dataclasses that the API uses."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, replace
from pathlib import Path

from bitkiln.boards import Board, find_board
from bitkiln.hdl.verification import VerifyOptions
from bitkiln.ir import fail, from_plain, known_names
from bitkiln.passes import Pass, read_passes
from bitkiln.passes.schedule import PlanOptions

from .datasets import DataSpec


@dataclass(frozen=True)
class ModelSpec:
    """`reference` is `model.py:build`, `weights` a state dict for it. Paths are relative to the project file."""

    reference: str
    input_shape: tuple[int, ...]
    weights: str = ""
    name: str = ""


@dataclass(frozen=True)
class SimulateSpec:
    """Which energy table prices the activity."""

    technology: str = "45nm"


@dataclass(frozen=True)
class BuildSpec:
    """For which board; without one there is no bitstream."""

    board: str = ""


@dataclass(frozen=True)
class OutputSpec:
    """Where the artefacts go, relative to the project file."""

    folder: str = "build"


@dataclass(frozen=True)
class Project:
    """A project file with its folder. `board` is None if none was named; the plan's clock is the board's by default."""

    root: Path
    model: ModelSpec
    data: DataSpec
    passes: tuple[Pass, ...]
    plan: PlanOptions
    simulate: SimulateSpec
    verify: VerifyOptions
    board: Board | None
    output: Path

    @property
    def name(self) -> str:
        return self.model.name or self.root.name


_TABLES = ("model", "data", "passes", "plan", "simulate", "verify", "build", "output")


def load_project(path: Path) -> Project:
    """Read `path` (a project.toml, or a folder that holds one).

    Raises ToolError `missing-file`, `bad-toml`, `unknown-key`, `missing-key`, `bad-value`, `unknown-pass` or
    `unknown-board`.
    """
    file = path / "project.toml" if path.is_dir() else path
    tables = _parse(file)
    for key in tables:
        if key not in _TABLES:
            raise fail("unknown-key", f"{file}: unknown table [{key}]", hint=known_names(key, _TABLES))
    for key in ("model", "data"):
        if key not in tables:
            raise fail("missing-key", f"{file}: the table [{key}] is missing")
    build = from_plain(BuildSpec, tables.get("build", {}), f"{file} [build]")
    board = find_board(build.board) if build.board else None
    plan_table = tables.get("plan", {})
    if board and isinstance(plan_table, dict):
        plan_table = {"clock_mhz": board.clock_hz / 1e6, **plan_table}
    root = file.parent
    output = from_plain(OutputSpec, tables.get("output", {}), f"{file} [output]")
    project = Project(
        root=root,
        model=from_plain(ModelSpec, tables["model"], f"{file} [model]"),
        data=from_plain(DataSpec, tables["data"], f"{file} [data]"),
        passes=read_passes(tables.get("passes", []), f"{file} [[passes]]"),
        plan=from_plain(PlanOptions, plan_table, f"{file} [plan]"),
        simulate=from_plain(SimulateSpec, tables.get("simulate", {}), f"{file} [simulate]"),
        verify=from_plain(VerifyOptions, tables.get("verify", {}), f"{file} [verify]"),
        board=board,
        output=root / output.folder,
    )
    _check(project, file)
    return project


def with_data_path(project: Project, path: str) -> Project:
    """Return the project with its samples taken from `path`, relative to the working folder."""
    return replace(project, data=replace(project.data, path=str(Path(path).absolute())))


def _parse(file: Path) -> dict[str, object]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise fail(
            "missing-file", f"{file} is no file", hint="examples/digits/project.toml is one to start from"
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError, RecursionError) as error:
        raise fail("bad-toml", f"{file} cannot be read: {error}") from None


def _check(project: Project, file: Path) -> None:
    """Check what spans several tables."""
    shape = project.model.input_shape
    if len(shape) < 2 or shape[0] != 1 or min(shape) < 1:
        message = f"{file} [model].input_shape: expected [1, ...], a batch of one sample with sizes of at least 1"
        raise fail("bad-value", f"{message}, not {list(shape)}")
    if project.board and project.plan.clock_mhz * 1e6 != project.board.clock_hz:
        have = project.board.clock_hz / 1e6
        message = f"{file} [plan].clock_mhz is {project.plan.clock_mhz}, but {project.board.name} runs at {have}"
        raise fail("bad-value", message, hint="leave clock_mhz out: the board's clock is the default")
