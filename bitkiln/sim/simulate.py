"""A workload on an accelerator: every layer by its engine, energy by the technology's table, totals and JSON."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property

from .accelerator import Accelerator, DramKind
from .counts import Counts, Level
from .energy import KindEnergy, counts_energy
from .engine import LayerRun, StallCause
from .engines import run_layer
from .technologies import dram_prices
from .technology import Price, Technology
from .tiling import Objective, Tuning
from .workload import Layer, Workload

Plain = dict[str, object]


@dataclass(frozen=True)
class Simulation:
    """What a workload costs; `energies` belong to `runs`. Energy is in `technology.unit`, pJ but for relative tables.

    >>> simulate(workload, find_accelerator("systolic-32"), find_technology("45nm")).cycles
    """

    workload: Workload
    accelerator: Accelerator
    technology: Technology
    runs: tuple[LayerRun, ...]
    energies: tuple[KindEnergy, ...]

    @property
    def compute_cycles(self) -> int:
        return sum(run.compute_cycles for run in self.runs)

    @property
    def cycles(self) -> int:
        """Layers run one after the other."""
        return sum(run.cycles for run in self.runs)

    @cached_property
    def counts(self) -> Counts:
        return sum((run.counts for run in self.runs), Counts()).merged()

    @cached_property
    def energy(self) -> KindEnergy:
        return KindEnergy.of(part for energy in self.energies for part in energy)

    @property
    def seconds(self) -> float:
        return self.cycles / self.accelerator.clock_hz

    @property
    def stalls(self) -> dict[StallCause, int]:
        """Cycles by cause, without those that do not occur."""
        return _stalls(self.runs)

    @property
    def utilisation(self) -> float:
        peak = max(run.peak_macs for run in self.runs)
        return sum(run.performed_macs for run in self.runs) / (peak * self.cycles) if self.cycles else 0.0

    def to_plain(self) -> Plain:
        """Return the result as plain data: `total` and each of `layers` have the same keys."""
        total = _plain(self.runs, self.counts, self.energy, self.technology, self.utilisation)
        layers = [
            {"name": run.layer.name, "place": run.layer.place, "mapping": run.mapping}
            | _plain((run,), run.counts, energy, self.technology, run.utilisation)
            for run, energy in zip(self.runs, self.energies, strict=True)
        ]
        return {
            "workload": self.workload.name,
            "batch": self.workload.batch,
            "other_operations": dict(self.workload.other),
            "accelerator": self.accelerator.name,
            "clock_hz": self.accelerator.clock_hz,
            "seconds": self.seconds,
            "technology": self.technology.name,
            "energy_unit": self.technology.unit.value,
            "total": total,
            "layers": layers,
        }


def simulate(
    workload: Workload, accelerator: Accelerator, technology: Technology, objective: Objective = Objective.TRAFFIC
) -> Simulation:
    """Run every layer of `workload` on `accelerator` and price what was counted with `technology`.

    Layers of equal shape without values are computed once. Raises `unmappable-layer`, `sram-too-small` and
    `missing-price`.
    """
    priced = with_dram(technology, accelerator.dram.kind)
    tuning = Tuning(objective, priced)
    known: dict[Layer, tuple[LayerRun, KindEnergy]] = {}
    found: list[tuple[LayerRun, KindEnergy]] = []
    for layer in workload.layers:
        shape = replace(layer, name="", place="", source="")
        result = known.get(shape) if layer.weights is None and layer.activations is None else None
        if result is None:
            run = run_layer(layer, accelerator, tuning)
            result = run, counts_energy(run.counts, priced)
        if layer.weights is None and layer.activations is None:
            known[shape] = result
        found.append((replace(result[0], layer=layer), result[1]))
    return Simulation(workload, accelerator, priced, tuple(run for run, _ in found), tuple(spent for _, spent in found))


def with_dram(technology: Technology, kind: DramKind) -> Technology:
    """Return the table with the price of a kind of DRAM; in a relative table DRAM keeps its own."""
    prices = dram_prices()
    price: dict[DramKind, Price] = {
        DramKind.LPDDR4: prices.lpddr4,
        DramKind.LPDDR: prices.lpddr,
        DramKind.DDR3: prices.ddr3,
    }
    if kind not in price or price[kind].unit is not technology.unit:
        return technology
    return replace(technology, dram=price[kind])


def _stalls(runs: Iterable[LayerRun]) -> dict[StallCause, int]:
    cycles: dict[StallCause, int] = {}
    for run in runs:
        for stall in run.stalls:
            cycles[stall.cause] = cycles.get(stall.cause, 0) + stall.cycles
    return {cause: cycles[cause] for cause in StallCause if cause in cycles}


def _plain(
    runs: tuple[LayerRun, ...], counts: Counts, energy: KindEnergy, technology: Technology, utilisation: float
) -> Plain:
    unit = technology.unit.value
    return {
        "compute_cycles": sum(run.compute_cycles for run in runs),
        "cycles": sum(run.cycles for run in runs),
        "stalls": {cause.value: cycles for cause, cycles in _stalls(runs).items()},
        "macs": sum(run.layer.macs for run in runs),
        "performed_macs": sum(run.performed_macs for run in runs),
        "gated_macs": sum(run.gated_macs for run in runs),
        "skipped_macs": sum(run.skipped_macs for run in runs),
        "utilisation": utilisation,
        "energy_pj": energy.total_pj if unit == "pJ" else None,
        "energy": energy.total_pj,
        "energy_by_kind": {kind.value: part for kind, part in energy},
        "dram_bytes": counts.bits(Level.DRAM) / 8,
        "sram_bytes": counts.bits(Level.SRAM) / 8,
        "register_bytes": counts.bits(Level.REGISTER) / 8,
        "network_bytes": counts.bits(Level.NETWORK) / 8,
        "accesses": [_plain_access(counts, level) for level in Level],
    }


def _plain_access(counts: Counts, level: Level) -> Plain:
    """Reads and writes at one level by what they are for, in values."""
    roles: dict[str, tuple[int, int, float]] = {}
    for access in counts.merged().accesses:
        if access.memory.level is level:
            reads, writes, moved = roles.get(access.memory.role.value, (0, 0, 0.0))
            roles[access.memory.role.value] = (reads + access.reads, writes + access.writes, moved + access.bits / 8)
    return {"level": level.value} | {
        role: {"reads": reads, "writes": writes, "bytes": moved} for role, (reads, writes, moved) in roles.items()
    }
