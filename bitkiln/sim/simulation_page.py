"""Simulations as one HTML file that needs no network: one on its own, or several side by side.

Several accelerators for one network, or one accelerator for a network before and after compression: what differs is in
the names, and the first simulation is what the others are compared with.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ._cards import Card, State
from ._charts import Chart
from ._format import NONE, bytes_text, count_text, percent_text, rate_text, ratio_text, short_count, time_text
from ._roofline import roofline
from ._simulation_charts import layer_charts, side_by_side, waterfall_chart
from ._tables import Cell, CountRow, PriceRow, count_rows, number_cell, price_rows, spent_text, text_cell
from .counts import Level
from .energy import KindEnergy
from .engine import LayerRun
from .report_page import page_template
from .simulate import Simulation
from .technology import RULES, Technology

_SAME = 0.005


@dataclass(frozen=True)
class SummaryRow:
    """A row of the comparison; the fields are its columns."""

    name: Cell
    time: Cell
    rate: Cell
    energy: Cell
    dram: Cell
    sram: Cell
    utilisation: Cell
    weights: Cell


@dataclass(frozen=True)
class RunRow:
    """A row of the layer table; the fields are its columns."""

    name: Cell
    macs: Cell
    performed: Cell
    gated: Cell
    skipped: Cell
    cycles: Cell
    waits: Cell
    utilisation: Cell
    energy: Cell
    dram: Cell
    sram: Cell
    mapping: Cell


@dataclass(frozen=True)
class Section:
    """One simulation. `id` is unique on the page."""

    id: str
    name: str
    charts: tuple[Chart, ...]
    rows: tuple[RunRow, ...]
    counts: tuple[CountRow, ...]
    technology: str


@dataclass(frozen=True)
class PriceTable:
    """A technology with its sources."""

    title: str
    rows: tuple[PriceRow, ...]


def render_simulations(simulations: Sequence[Simulation], commands: Sequence[str] = ()) -> str:
    """Return the page: the same simulations give the same text. There is at least one; `commands` make it again.

    >>> render_simulations([simulate(workload, find_accelerator("eie"), find_technology("45nm"))])
    """
    assert simulations, "a page shows something"
    names = _names(simulations)
    is_comparison = len(simulations) > 1
    technologies = {simulation.technology.name: simulation.technology for simulation in simulations}
    workloads = sorted({simulation.workload.name for simulation in simulations})
    return page_template("simulation.html.j2").render(
        kind="simulation",
        name=", ".join(workloads),
        subtitle=_subtitle(simulations),
        cards=[] if is_comparison else _cards(simulations[0]),
        summary=[
            _summary_row(simulation, name, simulations[0]) for simulation, name in zip(simulations, names, strict=True)
        ]
        if is_comparison
        else [],
        comparison=side_by_side(simulations, names) if is_comparison else (),
        waterfalls=_waterfalls(simulations),
        sections=[_section(index, *pair) for index, pair in enumerate(zip(simulations, names, strict=True))],
        prices=[PriceTable(table.title, tuple(price_rows(table))) for table in technologies.values()],
        rules=RULES,
        commands="\n".join(commands),
        tools=(),
        digests=(),
    )


def _names(simulations: Sequence[Simulation]) -> list[str]:
    """What tells the simulations apart: the network, the accelerator, or both."""
    workloads = {simulation.workload.name for simulation in simulations}
    accelerators = {simulation.accelerator.name for simulation in simulations}
    if len(workloads) == 1:
        return [simulation.accelerator.name for simulation in simulations]
    if len(accelerators) == 1:
        return [simulation.workload.name for simulation in simulations]
    return [f"{simulation.workload.name} on {simulation.accelerator.name}" for simulation in simulations]


def _subtitle(simulations: Sequence[Simulation]) -> str:
    titles = dict.fromkeys(simulation.accelerator.title for simulation in simulations)
    batches = sorted({simulation.workload.batch for simulation in simulations})
    images = ", ".join(f"{batch} image{'s' if batch > 1 else ''}" for batch in batches)
    return f"{images} on {'; '.join(titles)}"


def _cards(simulation: Simulation) -> list[Card]:
    weights, energy = simulation.weights, simulation.energy.total_pj
    macs = sum(run.layer.macs for run in simulation.runs)
    performed = sum(run.performed_macs for run in simulation.runs)
    mean = f"{energy / max(1, macs):.3g} {simulation.technology.unit.value} a multiply-accumulate"
    clock = f"{count_text(simulation.cycles)} cycles at {simulation.accelerator.clock_hz / 1e6:g} MHz"
    room = f"they take {bytes_text(weights.bits / 8)} of {bytes_text(weights.sram_bits / 8)}"
    return [
        Card("Time of a batch", time_text(simulation.seconds), clock, State.PLAIN),
        Card(
            "Images",
            rate_text(simulation.workload.batch / simulation.seconds),
            "if batches follow at once",
            State.PLAIN,
        ),
        Card("Energy of a batch", spent_text(energy, simulation.technology), mean, State.PLAIN),
        Card(
            "Multiply-accumulates",
            short_count(macs),
            f"{percent_text(performed / max(1, macs))} of them performed",
            State.PLAIN,
        ),
        Card(
            "Utilisation",
            percent_text(simulation.utilisation),
            "of the multipliers' cycles have a product",
            State.PLAIN,
        ),
        Card(
            "DRAM traffic",
            bytes_text(simulation.counts.bits(Level.DRAM) / 8),
            f"{bytes_text(simulation.counts.bits(Level.SRAM) / 8)} from and to SRAM",
            State.PLAIN,
        ),
        Card(
            "Do the weights fit?",
            "on the chip" if weights.fits else "no",
            room,
            State.GOOD if weights.fits else State.BAD,
        ),
    ]


def _ratio(text: str, value: float, first: float, *, is_first: bool) -> str:
    """The value, and how many times more or less than that of the first simulation it is."""
    if is_first or not first or not value:
        return text
    if abs(value / first - 1) < _SAME:
        return f"{text} (the same)"
    return f"{text} ({ratio_text(value / first)})" if value >= first else f"{text} ({ratio_text(first / value)} less)"


def _summary_row(simulation: Simulation, name: str, first: Simulation) -> SummaryRow:
    is_first = simulation is first
    energy, dram = simulation.energy.total_pj, simulation.counts.bits(Level.DRAM) / 8
    spent = spent_text(energy, simulation.technology)
    if simulation.technology.unit is first.technology.unit:
        spent = _ratio(spent, energy, first.energy.total_pj, is_first=is_first)
    time = _ratio(time_text(simulation.seconds), simulation.seconds, first.seconds, is_first=is_first)
    moved = _ratio(bytes_text(dram), dram, first.counts.bits(Level.DRAM) / 8, is_first=is_first)
    images = simulation.workload.batch / simulation.seconds
    sram, weights = simulation.counts.bits(Level.SRAM) / 8, simulation.weights
    fits = "fit" if weights.fits else "do not fit"
    return SummaryRow(
        name=text_cell(name),
        time=number_cell(simulation.seconds, time),
        rate=number_cell(images, rate_text(images)),
        energy=number_cell(energy, spent),
        dram=number_cell(dram, moved),
        sram=number_cell(sram, bytes_text(sram)),
        utilisation=number_cell(simulation.utilisation, percent_text(simulation.utilisation)),
        weights=number_cell(weights.bits, f"{bytes_text(weights.bits / 8)}, {fits}"),
    )


def _section(index: int, simulation: Simulation, name: str) -> Section:
    rows = [
        _run_row(run, energy, simulation.technology)
        for run, energy in zip(simulation.runs, simulation.energies, strict=True)
    ]
    return Section(
        id=f"layers-{index}",
        name=name,
        charts=(roofline(simulation), *layer_charts(simulation)),
        rows=tuple(rows),
        counts=tuple(count_rows(simulation.counts, simulation.technology)),
        technology=simulation.technology.title,
    )


def _run_row(run: LayerRun, energy: KindEnergy, technology: Technology) -> RunRow:
    worst = max(run.stalls, key=lambda stall: stall.cycles, default=None)
    waits = f"{worst.cause.value} {percent_text(worst.cycles / run.cycles)}" if worst else NONE
    dram, sram = run.bytes(Level.DRAM), run.bytes(Level.SRAM)
    return RunRow(
        name=text_cell(run.layer.name),
        macs=number_cell(run.layer.macs, count_text(run.layer.macs)),
        performed=number_cell(run.performed_macs, count_text(run.performed_macs)),
        gated=number_cell(run.gated_macs, count_text(run.gated_macs)),
        skipped=number_cell(run.skipped_macs, count_text(run.skipped_macs)),
        cycles=number_cell(run.cycles, count_text(run.cycles)),
        waits=number_cell(worst.cycles / run.cycles if worst else 0.0, waits),
        utilisation=number_cell(run.utilisation, percent_text(run.utilisation)),
        energy=number_cell(energy.total_pj, spent_text(energy.total_pj, technology)),
        dram=number_cell(dram, bytes_text(dram)),
        sram=number_cell(sram, bytes_text(sram)),
        mapping=text_cell(run.mapping),
    )


def _waterfalls(simulations: Sequence[Simulation]) -> list[Chart]:
    """For each network on a sparse engine with shared weights, what its compression saves."""
    return [
        waterfall_chart(simulation.waterfall, simulation.technology)
        for simulation in simulations
        if simulation.waterfall
    ]
