"""project.toml: everything that `bitkiln run` needs to know, read into the dataclasses that the API uses."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from bitkiln.boards import Board, find_board
from bitkiln.boards.clocks import board_at
from bitkiln.hdl.verification import VerifyOptions
from bitkiln.ir import ToolError, fail, from_plain, known_names
from bitkiln.ir.graph import NAME
from bitkiln.passes import Pass, read_passes
from bitkiln.passes.schedule import PlanOptions
from bitkiln.sim.technologies import find_technology
from bitkiln.sim.technology import Technology

from ._places import plain_name
from .board_plan import board_plan
from .datasets import DataSpec
from .model_zoo import is_zoo_reference


@dataclass(frozen=True)
class ModelSpec:
    """`reference` is `model.py:build`, `weights` a state dict for it. Paths are relative to the project file."""

    reference: str
    input_shape: tuple[int, ...]
    weights: str = ""
    name: str = ""


@dataclass(frozen=True)
class SimulateSpec:
    """Which energy table prices the activity: a known one, or a TOML file relative to the project file."""

    technology: str = "45nm"

    def relative_to(self, folder: Path) -> SimulateSpec:
        """Return the same spec with a file taken from `folder`; only names of files end in `.toml`."""
        is_file = self.technology.partition("@")[0].endswith(".toml") and not self.technology.startswith("/")
        return SimulateSpec(f"{folder}/{self.technology}") if is_file else self


@dataclass(frozen=True)
class BuildSpec:
    """For which board; without one there is no bitstream. `clock` is in MHz, the board's own, or the fastest."""

    board: str = ""
    clock: Literal["board", "fastest"] | float = "board"


@dataclass(frozen=True)
class OutputSpec:
    """Where the artefacts go, relative to the project file."""

    folder: str = "build"


@dataclass(frozen=True)
class Project:
    """A project file. `board` is None if none was named; the plan's clock is the board's by default.

    With `seeks_clock` the bitstream gets the fastest clock that it meets, and the board has its own here.
    """

    file: Path
    model: ModelSpec
    data: DataSpec
    passes: tuple[Pass, ...]
    plan: PlanOptions
    technology: Technology
    verify: VerifyOptions
    board: Board | None
    seeks_clock: bool
    output: Path

    @property
    def root(self) -> Path:
        """The folder that the file's paths are relative to."""
        return self.file.parent

    @property
    def name(self) -> str:
        """What artefacts are called: `[model] name`, else the folder's name."""
        return self.model.name or plain_name(self.root.resolve().name)

    @property
    def reference(self) -> str:
        """The model as the import takes it."""
        reference = self.model.reference
        is_elsewhere = reference.startswith("/") or is_zoo_reference(reference)
        return reference if is_elsewhere else f"{self.root}/{reference}"

    @property
    def weights(self) -> Path | None:
        return self.root / self.model.weights if self.model.weights else None


_TABLES = ("model", "data", "passes", "plan", "simulate", "verify", "build", "output")


def load_project(path: Path) -> Project:
    """Read `path` (a project.toml, or a folder that holds one).

    Raises ToolError `missing-file`, `bad-toml`, `unknown-key`, `missing-key`, `bad-value`, `unknown-pass`,
    `unknown-board`, `unknown-technology`, and what is wrong with a single option.
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
    with _at(f"{file} [build]"):
        board = _board(build)
    plan_table = tables.get("plan", {})
    if board and isinstance(plan_table, dict):
        plan_table = {**board_plan(board), **plan_table}
    simulate = from_plain(SimulateSpec, tables.get("simulate", {}), f"{file} [simulate]")
    with _at(f"{file} [simulate]"):
        technology = find_technology(simulate.relative_to(file.parent).technology)
    output = from_plain(OutputSpec, tables.get("output", {}), f"{file} [output]")
    project = Project(
        file=file,
        model=from_plain(ModelSpec, tables["model"], f"{file} [model]"),
        data=from_plain(DataSpec, tables["data"], f"{file} [data]"),
        passes=read_passes(tables.get("passes", []), f"{file} [[passes]]"),
        plan=from_plain(PlanOptions, plan_table, f"{file} [plan]"),
        technology=technology,
        verify=from_plain(VerifyOptions, tables.get("verify", {}), f"{file} [verify]"),
        board=board,
        seeks_clock=build.clock == "fastest",
        output=file.parent / output.folder,
    )
    _check(project, file)
    return project


def _board(build: BuildSpec) -> Board | None:
    if not build.board:
        if build.clock != "board":
            raise fail("bad-value", "clock is of a board, and none is named", hint='board = "..."')
        return None
    board = find_board(build.board)
    return board if isinstance(build.clock, str) else board_at(board, build.clock)


def with_data_path(project: Project, path: str) -> Project:
    """Return the project with its samples taken from `path`, relative to the working folder."""
    return replace(project, data=replace(project.data, path=str(Path(path).absolute())))


def _parse(file: Path) -> dict[str, object]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise fail(
            "missing-file", f"{file} is no file", hint="examples/digits/project.toml is one to start from"
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError, RecursionError) as error:
        raise fail("bad-toml", f"{file} cannot be read: {error}") from None


@contextmanager
def _at(where: str) -> Iterator[None]:
    """Say of what the block raises where in the file it is."""
    try:
        yield
    except ToolError as error:
        raise error.prefixed(where) from None


def _check(project: Project, file: Path) -> None:
    """Check what the tables' own types do not."""
    if not NAME.fullmatch(project.name):
        message = f"{file} [model].name has letters, digits, '_', '.' and '-', not {project.name[:80]!r}"
        raise fail("bad-value", message)
    model = project.model
    for path in (model.reference, model.weights, project.data.path, str(project.output)):
        if "\0" in path:
            raise fail("bad-value", f"{file}: a path cannot hold the character U+0000, as {path[:80]!r} does")
    shape = model.input_shape
    if len(shape) < 2 or shape[0] != 1 or min(shape) < 1:
        message = f"{file} [model].input_shape: expected [1, ...], a batch of one sample with sizes of at least 1"
        raise fail("bad-value", f"{message}, not {list(shape)}")
    if project.board and round(project.plan.clock_mhz * 1e6) != project.board.clock_hz:
        have = project.board.clock_hz / 1e6
        message = f"{file} [plan].clock_mhz is {project.plan.clock_mhz}, but {project.board.name} runs at {have}"
        raise fail("bad-value", message, hint="leave clock_mhz out: the board's clock is the default")
