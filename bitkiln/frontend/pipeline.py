"""The road from a project file to a report, as resumable steps whose artefacts are files."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import takewhile
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor

from bitkiln.boards import Resources
from bitkiln.ir import Plan, fail, from_plain, load_graph, save_graph, to_plain, write_whole
from bitkiln.passes import Canonicalise, Context, Progress, Tune, no_progress, run_passes
from bitkiln.sim.csynth import Csynth
from bitkiln.sim.dataflow import dataflow_cycles
from bitkiln.sim.design import Design
from bitkiln.sim.planning import plan_graph
from bitkiln.sim.report import RecipeStep

from .checkpoints import FileCheckpoints
from .datasets import Dataset, calibration_inputs, check_shape, data_files, load_dataset
from .import_model import import_counting, model_file
from .model_reference import source_root
from .project import Project
from .recipe import Recipe
from .steps import Step, digest_of, file_digest, package_digest, source_digest

FLOAT_GRAPH = "model.graph.safetensors"
IMPORTED = "import.json"
GRAPH = "compressed.graph.safetensors"
KILN = "compressed.kiln"
ACCURACY = "accuracy.json"
CYCLES = "cycles.json"
TRAINING = ".training"
RTL = "rtl"
VERIFY = "verify.json"
BUILD = "build.json"
REPORT_JSON = "report.json"
REPORT_HTML = "report.html"

_T = TypeVar("_T")


@dataclass(frozen=True)
class Counted:
    """The model's own parameters; its graph has fewer constants where a batch norm was folded."""

    params: int


@dataclass(frozen=True)
class Accuracies:
    """Accuracies (0 to 1) on `images` test images.

    `float_` is that of the model as it came, or as the passes trained it before the first one that compresses; `steps`
    has those after the import and each pass.
    """

    float_: float
    golden: float
    images: int
    steps: tuple[RecipeStep, ...] = ()


@dataclass(frozen=True)
class Built:
    """A bitstream in the output folder; `tools` are the versions that made it, `caveat` is what Fmax does not tell."""

    bitstream: str
    bytes: int
    used: Resources
    fmax_mhz: float
    clock_mhz: float
    tools: tuple[str, ...]
    caveat: str = ""


class Pipeline:
    """The steps of a project. What a step needs is read from the files of the steps before it, when it is needed.

    `csynth` is for the report only; it comes from outside and is no artefact.
    """

    def __init__(self, project: Project, progress: Progress = no_progress) -> None:
        self.project = project
        self.progress = progress
        self.folder = project.output
        self.csynth: Csynth | None = None

    @property
    def steps(self) -> tuple[Step, ...]:
        """All steps in order; without a board there is no build."""
        build = (Step("build", self._build_key, self._build),) if self.project.board else ()
        return (
            Step("import", self._import_key, self._import),
            Step("compress", self._compress_key, self._compress),
            Step("simulate", self._simulate_key, self._simulate),
            Step("generate", self._plan_key, self._generate),
            Step("verify", self._verify_key, self._verify),
            *build,
            Step("report", self._report_key, self._report),
        )

    @cached_property
    def dataset(self) -> Dataset:
        dataset, images = load_dataset(self.project.data.relative_to(self.project.root)), self.project.verify.images
        check_shape(dataset, self.project.model.input_shape[1:])
        if len(dataset.test_x) < images:
            message = f"{self.project.file} [verify].images is {images}, but there are only {len(dataset.test_x)}"
            raise fail("too-few-samples", f"{message} test samples", hint=f"at most images = {len(dataset.test_x)}")
        return dataset

    @cached_property
    def plan(self) -> Plan:
        """The Plan follows from the compressed graph and the options alone, so it is made anew, not stored."""
        return plan_graph(load_graph(self.folder / GRAPH), self.project.plan)[0]

    @cached_property
    def design(self) -> Design:
        return Design.of(self.plan, dataflow_cycles(self.plan), self.project.technology)

    def design_at(self, clock_mhz: float) -> Design:
        """Return the design at the clock of a bitstream, which may be faster than the plan's."""
        plan = replace(self.plan, clock_hz=clock_mhz * 1e6)
        return Design.of(plan, dataflow_cycles(plan), self.project.technology)

    def _import_key(self) -> object:
        file, weights = model_file(self.project.reference), self.project.weights
        own = file_digest(file) if file.is_file() else ""
        sources = source_digest(source_root(file)) if file.suffix == ".py" else ""
        digest = file_digest(weights) if weights and weights.is_file() else ""
        return [to_plain(self.project.model), self.project.name, own, sources, digest]

    def _import(self) -> tuple[str, ...]:
        project = self.project
        found = import_counting(project.reference, project.model.input_shape, project.weights, project.name)
        save_graph(found.graph, self.folder / FLOAT_GRAPH)
        self._write_json(IMPORTED, Counted(found.params))
        return (FLOAT_GRAPH, IMPORTED)

    def _data_key(self) -> object:
        found = [(file, file.stat()) for file in data_files(self.project.data.relative_to(self.project.root))]
        return [
            to_plain(self.project.data),
            [[file.name, status.st_size, status.st_mtime_ns] for file, status in found],
        ]

    def _compress_key(self) -> object:
        passes = [[step.name, to_plain(step)] for step in self.project.passes]
        return [file_digest(self.folder / FLOAT_GRAPH), passes, self._data_key()]

    def _compress(self) -> tuple[str, ...]:
        graph, data = load_graph(self.folder / FLOAT_GRAPH), self.dataset
        train_x, train_y = torch.from_numpy(data.train_x), torch.from_numpy(data.train_y)
        calibration = torch.from_numpy(calibration_inputs(data, self.project.data.calibration_samples))
        checkpoints = FileCheckpoints(self.folder / TRAINING / digest_of([self._compress_key(), package_digest()]))
        checkpoints.clear_others()
        context = Context(calibration, train_x, train_y, 0, graph, self.progress, checkpoints)
        test_x, test_y = self.test_set
        recipe = Recipe(graph, test_x, test_y, self.progress)
        compressed = run_passes(graph, self.project.passes, context, recipe.add)
        floats = takewhile(lambda step: isinstance(step, Tune | Canonicalise), self.project.passes)
        float_ = recipe.steps[len(tuple(floats))].accuracy
        tested = Accuracies(float_, recipe.steps[-1].accuracy, len(test_x), recipe.steps)
        save_graph(compressed, self.folder / GRAPH)
        save_graph(compressed, self.folder / KILN)
        self._write_json(ACCURACY, tested)
        checkpoints.clear_all()
        return GRAPH, KILN, ACCURACY

    @property
    def test_set(self) -> tuple[Tensor, Tensor]:
        return torch.from_numpy(self.dataset.test_x), torch.from_numpy(self.dataset.test_y)

    def _plan_key(self) -> object:
        return [file_digest(self.folder / GRAPH), to_plain(self.project.plan)]

    def _simulate_key(self) -> object:
        return [self._plan_key(), to_plain(self.project.technology)]

    def _simulate(self) -> tuple[str, ...]:
        design = self.design
        content = {
            "latency": design.latency_cycles,
            "interval": design.interval_cycles,
            "images_per_second": design.images_per_second,
            "energy_pj": design.energy.total_pj,
            "queue_depths": {stream.name: stream.depth for stream in self.plan.streams},
        }
        self._write_json(CYCLES, content)
        return (CYCLES,)

    def _generate(self) -> tuple[str, ...]:
        from bitkiln.hdl.generate import generate_rtl  # noqa: PLC0415  # the base install has no amaranth

        bundle = generate_rtl(self.plan)
        bundle.write(self.folder / RTL)
        return tuple(f"{RTL}/{path}" for path in bundle.paths)

    def _verify_key(self) -> object:
        return [self._plan_key(), to_plain(self.project.verify), self._data_key()]

    def _verify(self) -> tuple[str, ...]:
        from bitkiln.hdl.verify import verify_plan  # noqa: PLC0415

        def say(step: str) -> None:
            self.progress(step, 0)

        found = verify_plan(self.plan, self.test_set[0], self.project.verify, on_step=say)
        self._write_json(VERIFY, found)
        return (VERIFY,)

    def _build_key(self) -> object:
        assert self.project.board is not None
        board = self.project.board
        return [self._plan_key(), self.project.name, board.name, board.clock_hz, self.project.seeks_clock]

    def _build(self) -> tuple[str, ...]:
        from bitkiln.hdl.build_plan import build_plan  # noqa: PLC0415
        from bitkiln.hdl.fastest_clock import build_fastest  # noqa: PLC0415

        assert self.project.board is not None

        def say(step: str) -> None:
            self.progress(step, 0)

        if self.project.seeks_clock:
            _, built = build_fastest(self.plan, self.project.board, on_step=say)
        else:
            built = build_plan(self.plan, self.project.board, on_step=say)
        file = f"{self.project.name}{Path(built.file_name).suffix}"
        write_whole(self.folder / file, built.bitstream)
        size = len(built.bitstream)
        facts = (built.used, built.fmax_mhz, built.clock_mhz, built.tool_versions, built.caveat)
        self._write_json(BUILD, Built(file, size, *facts))
        return BUILD, file

    def _report_key(self) -> object:
        files = [FLOAT_GRAPH, IMPORTED, GRAPH, ACCURACY, VERIFY, *([BUILD] if self.project.board else [])]
        present = {name: file_digest(self.folder / name) for name in files if (self.folder / name).is_file()}
        return [present, self._simulate_key(), self.project.file.name, file_digest(self.project.file)]

    def _report(self) -> tuple[str, ...]:
        from .reporting import assemble_report  # noqa: PLC0415

        report, page = assemble_report(self)
        write_whole(self.folder / REPORT_JSON, report.encode())
        write_whole(self.folder / REPORT_HTML, page.encode())
        return REPORT_JSON, REPORT_HTML

    def read(self, kind: type[_T], name: str) -> _T | None:
        """Return an artefact, None if its step has not been run; raises ToolError `bad-artefact`."""
        file = self.folder / name
        try:
            content = json.loads(file.read_bytes())
        except FileNotFoundError:
            return None
        except (ValueError, RecursionError) as error:
            message = f"{file} is not as it was written: {error}"
            raise fail("bad-artefact", message, hint="`bitkiln run` makes it again") from None
        return from_plain(kind, content, str(file))

    def _write_json(self, name: str, content: object) -> None:
        write_whole(self.folder / name, (json.dumps(to_plain(content), indent=1, sort_keys=True) + "\n").encode())
