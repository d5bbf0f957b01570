"""A workload on an accelerator: every layer by its engine, energy by the technology's table, totals and JSON."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property

from bitkiln.ir import ToolError

from ._tiles import Residence
from .accelerator import Accelerator, DramKind, Eie, RowStationary, ZeroSkip
from .counts import Counts, Level
from .energy import KindEnergy, counts_energy, unsourced_kinds
from .engine import LayerRun, StallCause
from .engines import run_layer
from .residence import IMPOSSIBLE, Weights, nothing_stays, residences, weights_of
from .technologies import dram_prices
from .technology import MemoryPrice, Price, Technology
from .tiling import Objective, Tuning
from .waterfall import Step, waterfall
from .workload import Layer, Workload

Plain = dict[str, object]


@dataclass(frozen=True)
class Overlap:
    """Totals of an accelerator whose layers all work at the same time."""

    compute_cycles: int
    cycles: int
    peak_macs: int


@dataclass(frozen=True)
class Simulation:
    """What a workload costs; `energies` and `stays`, what is kept on the chip, belong to `runs`.

    Energy is in `technology.unit`, pJ but for relative tables. Without an `overlap`, layers run one after the other.

    >>> simulate(workload, find_accelerator("systolic-32"), find_technology("45nm")).cycles
    """

    workload: Workload
    accelerator: Accelerator
    technology: Technology
    runs: tuple[LayerRun, ...]
    energies: tuple[KindEnergy, ...]
    weights: Weights
    stays: tuple[Residence, ...]
    overlap: Overlap | None = None

    @property
    def compute_cycles(self) -> int:
        return self.overlap.compute_cycles if self.overlap else sum(run.compute_cycles for run in self.runs)

    @property
    def cycles(self) -> int:
        return self.overlap.cycles if self.overlap else sum(run.cycles for run in self.runs)

    @cached_property
    def counts(self) -> Counts:
        return sum((run.counts for run in self.runs), Counts()).merged()

    @cached_property
    def energy(self) -> KindEnergy:
        return KindEnergy.of(part for energy in self.energies for part in energy)

    @property
    def unsourced_energy(self) -> float:
        """The part of the energy of kinds for which the table has a price without a source."""
        kinds = unsourced_kinds(self.technology)
        return sum(spent for kind, spent in self.energy if kind in kinds)

    @cached_property
    def waterfall(self) -> tuple[Step, ...]:
        """What compression saves, step by step; nothing if the engine does not compress."""
        if self.accelerator.eie is None:
            return ()
        return waterfall([run.layer for run in self.runs], self.accelerator, self.technology)

    @property
    def seconds(self) -> float:
        return self.cycles / self.accelerator.clock_hz

    @property
    def stalls(self) -> dict[StallCause, int]:
        """Cycles by cause, without those that do not occur."""
        return _stalls(self.runs)

    @property
    def utilisation(self) -> float:
        peak = self.overlap.peak_macs if self.overlap else max(run.peak_macs for run in self.runs)
        return sum(run.performed_macs for run in self.runs) / (peak * self.cycles) if self.cycles else 0.0

    def to_plain(self) -> Plain:
        """Return the result as plain data: `total` and each of `layers` have the same keys."""
        total = _plain(self.runs, self.counts, self.energy, self.technology, self.utilisation)
        total |= {"compute_cycles": self.compute_cycles, "cycles": self.cycles}
        layers = [
            {
                "name": run.layer.name,
                "place": run.layer.place,
                "mapping": run.mapping,
                "input_stays": stays.has_input,
                "output_stays": stays.has_output,
            }
            | _plain((run,), run.counts, energy, self.technology, run.utilisation)
            for run, energy, stays in zip(self.runs, self.energies, self.stays, strict=True)
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
            "unsourced_energy": self.unsourced_energy,
            "prices": [_plain_price(part, price) for part, price in self.technology.entries()],
            "weights": {
                "bytes": self.weights.bits / 8,
                "sram_bytes": self.weights.sram_bits / 8,
                "fits": self.weights.fits,
                "stays": all(stays.has_weights for stays in self.stays),
            },
            "waterfall": [asdict(step) for step in self.waterfall],
            "total": total,
            "layers": layers,
        }


def simulate(
    workload: Workload,
    accelerator: Accelerator,
    technology: Technology,
    objective: Objective = Objective.TRAFFIC,
    can_stay: bool = True,
) -> Simulation:
    """Run every layer of `workload` on `accelerator` and price what was counted with `technology`.

    Tilings, and what stays on the chip if anything `can_stay`, are chosen for `objective`. Raises `unmappable-layer`,
    `sram-too-small` and `missing-price`.
    """
    priced = with_dram(technology, accelerator.dram.kind)
    runner = _Runner(accelerator, priced, objective)
    weights = weights_of(workload, accelerator)
    stays = nothing_stays(workload)
    if can_stay and accelerator.row_stationary is None:  # whose loops take everything from DRAM
        stays = residences(workload, accelerator, weights.fits, runner.cost)
    found = [runner.run(layer, residence) for layer, residence in zip(workload.layers, stays, strict=True)]
    runs = tuple(replace(run, layer=layer) for run, layer in zip(found, workload.layers, strict=True))
    energies = tuple(counts_energy(run.counts, priced) for run in runs)
    return Simulation(workload, accelerator, priced, runs, energies, weights, stays)


@dataclass
class _Runner:
    """Runs layers, those that are alike once."""

    accelerator: Accelerator
    technology: Technology
    objective: Objective
    _known: dict[tuple[Hashable, Residence], LayerRun] = field(default_factory=dict)

    def run(self, layer: Layer, residence: Residence) -> LayerRun:
        key = (self._key(layer), residence)
        if key not in self._known:
            tuning = Tuning(self.objective, self.technology)
            self._known[key] = run_layer(layer, self.accelerator, tuning, residence)
        return self._known[key]

    def cost(self, layer: Layer, residence: Residence) -> tuple[float, float]:
        """What is to be small, then cycles; infinite if the tiles do not fit beside what stays."""
        try:
            run = self.run(layer, residence)
        except ToolError as error:
            if residence.reserved_bits and {found.slug for found in error.diagnostics} == {"sram-too-small"}:
                return IMPOSSIBLE
            raise
        match self.objective:
            case Objective.TRAFFIC:
                return float(run.counts.bits(Level.DRAM)), float(run.cycles)
            case Objective.ENERGY:
                return counts_energy(run.counts, self.technology).total_pj, float(run.cycles)
            case Objective.CYCLES:
                return float(run.cycles), float(run.counts.bits(Level.DRAM))

    def _key(self, layer: Layer) -> Hashable:
        """What the engine's result depends on: on values only where it is not their number or density that matters."""
        engine = self.accelerator.engine
        if isinstance(engine, Eie | ZeroSkip) and (layer.weights is not None or layer.activations is not None):
            return layer  # names are unique in a workload, and the values belong to them
        density = layer.activation_density if isinstance(engine, RowStationary) else None
        return layer.shape, density


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


def _plain_price(part: str, price: Price | MemoryPrice) -> Plain:
    """An entry of the energy table; `is_sourced` is false for a number that nobody has measured or published."""
    plain: Plain = {
        "part": part,
        "bits": price.bits,
        "energy": price.energy,
        "unit": price.unit.value,
        "source": price.source,
        "is_sourced": price.is_sourced,
    }
    if isinstance(price, MemoryPrice):
        plain |= {"capacity_bytes": price.capacity_bytes, "write_energy": price.write_pj_per_bit * price.bits}
    return plain


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
