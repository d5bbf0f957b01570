"""The report of a run: every number that a step gave, None where the step has not been run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath

from bitkiln.boards import Board, Resource, Resources
from bitkiln.ir import Graph

from ._report_json import report_json
from .csynth import Csynth
from .design import Design
from .footprint import Footprint
from .timeline import Timeline


@dataclass(frozen=True)
class Model:
    """The imported network, before anything is compressed; `macs` are for one image."""

    name: str
    params: int
    macs: int
    input: str
    output: str

    @classmethod
    def of(cls, graph: Graph, params: int) -> Model:
        """`params` are the model's own: folding a batch norm leaves fewer constants in the graph."""
        inputs = ", ".join(str(value.type) for value in graph.inputs)
        outputs = ", ".join(str(graph.types[name]) for name in graph.outputs)
        return cls(graph.name, params, graph.total_macs, inputs, outputs)


@dataclass(frozen=True)
class Accuracy:
    """Shares of `images` test images that get their label, 0 to 1: of the float network and of the golden model."""

    float_: float | None
    golden: float | None
    images: int


@dataclass(frozen=True)
class RecipeStep:
    """The network after one pass of the recipe: its accuracy (0 to 1) on the test images and what its constants are.

    `name` is the pass, `options` are those that differ from its defaults. The first step is the import, without any.
    """

    name: str
    options: str
    accuracy: float
    params: int
    constant_bits: int


@dataclass(frozen=True)
class Storage:
    """What the imported network takes, and the compressed one, by `STORAGE_RULE` and `WORK_RULE`."""

    before: Footprint
    after: Footprint

    @classmethod
    def of(cls, dense: Graph, stored: Graph) -> Storage:
        """`dense` is the float network, `stored` the compressed one."""
        return cls(Footprint.of(dense), Footprint.of(stored))

    @property
    def dense_bytes(self) -> int:
        return 4 * self.before.params

    @property
    def stored_bytes(self) -> int:
        return self.after.stored_bytes


@dataclass(frozen=True)
class Verification:
    """The RTL against the golden model. `rtl_interval` is None if one image was streamed."""

    images: int
    mismatches: int
    rtl_latency: int
    rtl_interval: int | None
    simulator: str


@dataclass(frozen=True)
class Prediction:
    """What synthesis, place and route are expected to find, by a model; None where it says nothing."""

    resources: Resources
    fmax_mhz: float | None = None


@dataclass(frozen=True)
class BuildFacts:
    """A finished bitstream; `bitstream` is its path relative to the report, `caveat` is what Fmax does not tell."""

    used: Resources
    fmax_mhz: float
    bitstream: str
    bitstream_bytes: int
    caveat: str = ""

    def __post_init__(self) -> None:
        assert not PurePosixPath(self.bitstream).is_absolute(), f"{self.bitstream} depends on the machine"


@dataclass(frozen=True, eq=False)
class Report:
    """All that is known about a run. `link_images_per_second` is what the serial link to the host allows.

    `recipe` is what the passes made of the network, step by step. `commands` make the same run again, `tools` are the
    versions it was made with, `digests` the SHA-256 of files by name. `csynth` is what Vitis HLS says of it.

    >>> Report(Model.of(graph, graph.params)).to_json()
    """

    model: Model
    storage: Storage | None = None
    accuracy: Accuracy | None = None
    design: Design | None = None
    verification: Verification | None = None
    board: Board | None = None
    build: BuildFacts | None = None
    link_images_per_second: float | None = None
    recipe: tuple[RecipeStep, ...] = ()
    timeline: Timeline | None = None
    prediction: Prediction | None = None
    commands: tuple[str, ...] = ()
    tools: tuple[str, ...] = ()
    digests: tuple[tuple[str, str], ...] = ()
    csynth: Csynth | None = None

    @property
    def clock_mhz(self) -> float | None:
        if self.design:
            return self.design.clock_hz / 1e6
        return self.board.clock_hz / 1e6 if self.board else None

    @property
    def resources(self) -> tuple[tuple[Resource, int | None, int], ...]:
        """(kind, used or None, available) for what the board has or the design uses."""
        if self.board is None:
            return ()
        used = self.build.used if self.build else None
        return tuple(
            (kind, used[kind] if used else None, available)
            for kind, available in self.board.resources
            if available or (used and used[kind])
        )

    def to_json(self) -> str:
        """Return report.json: the same report gives the same bytes, and every key is there for every report."""
        return report_json(self)
