"""The report of a run: every number that a step gave, None where the step has not been run."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import PurePosixPath

from bitkiln.boards import Board, Resource, Resources
from bitkiln.ir import Graph
from bitkiln.ir.coding import STORAGE_RULE

from .counts import Access, Arithmetic, Level
from .design import Design, Layer, Link, MemoryUse
from .energy import Kind, KindEnergy
from .footprint import WORK_RULE, Footprint
from .technology import RULES, Technology

Plain = dict[str, object]


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
class BuildFacts:
    """A finished bitstream; `bitstream` is its path relative to the report."""

    used: Resources
    fmax_mhz: float
    bitstream: str
    bitstream_bytes: int

    def __post_init__(self) -> None:
        assert not PurePosixPath(self.bitstream).is_absolute(), f"{self.bitstream} depends on the machine"


@dataclass(frozen=True, eq=False)
class Report:
    """All that is known about a run. `link_images_per_second` is what the serial link to the host allows.

    `commands` make the same run again, `tools` are the versions it was made with.

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
    commands: tuple[str, ...] = ()
    tools: tuple[str, ...] = ()

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
        return json.dumps(_plain(self), indent=2, sort_keys=True, allow_nan=False) + "\n"


def _plain(report: Report) -> Plain:
    accuracy, storage, design = report.accuracy, report.storage, report.design
    verification, build = report.verification, report.build
    return {
        "model": asdict(report.model),
        "accuracy": {
            "float": accuracy.float_ if accuracy else None,
            "golden": accuracy.golden if accuracy else None,
            "images": accuracy.images if accuracy else None,
        },
        "storage": {
            "dense_bytes": storage.dense_bytes if storage else None,
            "stored_bytes": storage.stored_bytes if storage else None,
            "before": storage.before.to_plain() if storage else None,
            "after": storage.after.to_plain() if storage else None,
            "rule": STORAGE_RULE,
            "work_rule": WORK_RULE,
        },
        "cycles": {
            "latency": design.latency_cycles if design else None,
            "interval": design.interval_cycles if design else None,
            "rtl_latency": verification.rtl_latency if verification else None,
            "rtl_interval": verification.rtl_interval if verification else None,
        },
        "verify": {
            "images": verification.images if verification else None,
            "mismatches": verification.mismatches if verification else None,
            "simulator": verification.simulator if verification else None,
        },
        "board": report.board.name if report.board else None,
        "resources": {kind.value: {"used": used, "available": available} for kind, used, available in report.resources},
        "fmax_mhz": build.fmax_mhz if build else None,
        "clock_mhz": report.clock_mhz,
        "images_per_second": design.images_per_second if design else None,
        "link_images_per_second": report.link_images_per_second,
        "bitstream": {
            "path": build.bitstream if build else None,
            "bytes": build.bitstream_bytes if build else None,
        },
        "commands": report.commands,
        "tools": report.tools,
        **_plain_design(design),
    }


def _plain_design(design: Design | None) -> Plain:
    if design is None:
        nothing = dict.fromkeys(("total_pj", "by_kind", "weights_from_dram_pj", "technology", "rules"))
        return {"energy": nothing, "activity": None, "memory": None, "layers": [], "streams": []}
    total = design.activity.total
    return {
        "energy": {
            "total_pj": design.energy.total_pj,
            "by_kind": _plain_energy(design.energy.by_kind),
            "weights_from_dram_pj": design.weights_from_dram.total_pj,
            "technology": _plain_technology(design.technology),
            "rules": RULES,
        },
        "activity": {
            "macs": total.macs,
            "operations": [_plain_arithmetic(item) for item in total.arithmetic],
            "accesses": [_plain_access(access) for access in total.accesses],
            "sram_bits": total.bits(Level.SRAM),
            "register_bits": total.bits(Level.REGISTER),
            "dram_bits": total.bits(Level.DRAM),
        },
        "memory": [_plain_memory(use) for use in design.memories],
        "layers": [_plain_layer(layer) for layer in design.layers],
        "streams": [_plain_link(link) for link in design.links],
    }


def _plain_energy(parts: KindEnergy) -> Plain:
    """The kinds that a dataflow design can spend energy on, also where it spends none."""
    return {kind.value: energy_pj for kind, energy_pj in parts if kind not in (Kind.NETWORK, Kind.LOGIC)}


def _plain_technology(technology: Technology) -> Plain:
    plain = asdict(technology)
    for value in plain.values():
        for entry in value if isinstance(value, tuple) else (value,):
            if isinstance(entry, dict):
                entry["unit"] = entry["unit"].value
    return plain


def _plain_arithmetic(item: Arithmetic) -> Plain:
    return {
        "operation": item.operation.value,
        "purpose": item.purpose.value,
        "bits": item.bits,
        "count": item.count,
    }


def _plain_access(access: Access) -> Plain:
    return {
        "level": access.memory.level.value,
        "role": access.memory.role.value,
        "capacity_bits": access.memory.capacity_bits,
        "word_bits": access.memory.word_bits,
        "reads": access.reads,
        "writes": access.writes,
    }


def _plain_memory(use: MemoryUse) -> Plain:
    return {
        "role": use.role.value,
        "level": use.level.value,
        "capacity_bits": use.capacity_bits,
        "read_bits": use.read_bits,
        "written_bits": use.written_bits,
    }


def _plain_layer(layer: Layer) -> Plain:
    return {
        "name": layer.name,
        "op": layer.op,
        "unit": layer.unit,
        "output_shape": layer.shape,
        "number": layer.number,
        "params": layer.params,
        "macs": layer.macs,
        "pe": layer.pe,
        "simd": layer.simd,
        "multipliers": layer.multipliers,
        "storage": layer.storage,
        "busy_cycles": layer.busy_cycles,
        "utilisation": layer.utilisation,
        "energy_pj": layer.energy.total_pj,
        "energy_by_kind": _plain_energy(layer.energy),
        "weight_bits": layer.weight_bits,
        "weight_memory_bits": layer.weight_memory_bits,
        "queue_depths": layer.queue_depths,
        "place": layer.place,
    }


def _plain_link(link: Link) -> Plain:
    return asdict(link)
