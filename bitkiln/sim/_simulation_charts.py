"""The charts of simulations: where cycles, energy and traffic go, layer by layer and side by side."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ._charts import Chart, Fall, Key, Part, Row, bar_chart, fall_chart
from ._format import bytes_text, count_text, percent_text, ratio_text, time_text
from ._tables import spent_text
from .counts import Access, Counts, Level, Role
from .energy import Kind, KindEnergy
from .engine import LayerRun, StallCause
from .simulate import Simulation
from .technology import EnergyUnit, Technology
from .waterfall import Step, dram_over_add

KIND_NAMES = {
    Kind.MULTIPLY: "multiply",
    Kind.ADD: "add",
    Kind.LOGIC: "gates (XNOR)",
    Kind.REGISTER: "registers",
    Kind.NETWORK: "network on the chip",
    Kind.SRAM: "SRAM",
    Kind.DRAM: "off chip (DRAM)",
}
LEVEL_NAMES = {
    Level.REGISTER: "registers",
    Level.NETWORK: "network",
    Level.SRAM: "SRAM",
    Level.DRAM: "DRAM",
}
_STALL_COLOURS = {
    StallCause.IMBALANCE: "imbalance",
    StallCause.STARVED: "starved",
    StallCause.TILES: "tiles",
    StallCause.PORTS: "ports",
    StallCause.DRAM: "waits-dram",
    StallCause.FIRST_TILE: "first-tile",
    StallCause.LAST_TILE: "last-tile",
}
_ROLE_COLOURS = {
    Role.WEIGHTS: "weights",
    Role.INDICES: "indices",
    Role.POINTERS: "pointers",
    Role.CODEBOOK: "codebook",
    Role.ACTIVATIONS: "activations",
    Role.PARTIAL_SUMS: "sums",
    Role.OUTPUTS: "outputs",
}
_OTHER_ROLE = "other"


def layer_charts(simulation: Simulation) -> tuple[Chart, ...]:
    """Return the charts of one simulation with a row for each layer, and its memory traffic."""
    return (_cycles(simulation), _energy(simulation), _dram(simulation), _traffic(simulation))


def side_by_side(simulations: Sequence[Simulation], names: Sequence[str]) -> tuple[Chart, ...]:
    """Return the charts that compare simulations: time, energy, traffic to DRAM."""
    return (
        _times(simulations, names),
        *(_energies(simulations, names, unit) for unit in EnergyUnit if _of_unit(simulations, unit)),
        _dram_totals(simulations, names),
    )


def _cycles(simulation: Simulation) -> Chart:
    note = "Cycles of each layer: computing, and waiting by its cause."
    if simulation.overlap:
        note = "Cycles in which each layer's units work; all layers work at the same time, on different images."
    rows = [_cycles_row(run) for run in simulation.runs]
    causes = [cause for cause in _STALL_COLOURS if cause in simulation.stalls]
    keys = [Key("busy", "computing"), *(Key(_STALL_COLOURS[cause], cause.value) for cause in causes)]
    return bar_chart("Cycles by layer", note, rows, keys)


def _cycles_row(run: LayerRun) -> Row:
    name, stalls = run.layer.name, {stall.cause: stall.cycles for stall in run.stalls}
    parts = [Part(run.compute_cycles, "busy", f"{name}: computing {count_text(run.compute_cycles)} cycles")]
    for cause, colour in _STALL_COLOURS.items():
        title = f"{name}: {cause.value} {count_text(stalls.get(cause, 0))} cycles"
        parts.append(Part(stalls.get(cause, 0), colour, title))
    return Row(name, f"{count_text(run.cycles)} ({percent_text(run.utilisation)})", tuple(parts))


def _energy(simulation: Simulation) -> Chart:
    rows = [
        _energy_row(run.layer.name, energy, simulation.technology)
        for run, energy in zip(simulation.runs, simulation.energies, strict=True)
    ]
    note = f"Counts x prices, by what the energy is spent on: {simulation.technology.title}."
    return bar_chart("Energy by layer", note, rows, _kind_keys([simulation.energy]))


def _energy_row(name: str, energy: KindEnergy, technology: Technology) -> Row:
    spent = dict(energy)
    parts = tuple(
        Part(spent[kind], kind.value, f"{name}: {what} {spent_text(spent[kind], technology)}")
        for kind, what in KIND_NAMES.items()
    )
    return Row(name, spent_text(energy.total_pj, technology), parts)


def _kind_keys(energies: Sequence[KindEnergy]) -> list[Key]:
    spent = {kind for energy in energies for kind, value in energy if value}
    return [Key(kind.value, name) for kind, name in KIND_NAMES.items() if kind in spent]


def _by_role(accesses: Iterable[Access]) -> dict[Role, float]:
    """Bytes read and written, by what they are for."""
    moved: dict[Role, float] = {}
    for access in accesses:
        role = access.memory.role
        moved[role] = moved.get(role, 0) + access.bits / 8
    return moved


def _at(counts: Counts, level: Level) -> list[Access]:
    return [access for access in counts.accesses if access.memory.level is level]


def _traffic_row(name: str, moved: dict[Role, float]) -> Row:
    order = [*_ROLE_COLOURS, *sorted(set(moved) - set(_ROLE_COLOURS), key=lambda role: role.value)]
    parts = tuple(
        Part(moved[role], _ROLE_COLOURS.get(role, _OTHER_ROLE), f"{name}: {role.value} {bytes_text(moved[role])}")
        for role in order
        if role in moved
    )
    return Row(name, bytes_text(sum(moved.values())), parts)


def _role_keys(counts: Sequence[Counts], levels: Sequence[Level]) -> list[Key]:
    roles = {access.memory.role for each in counts for level in levels for access in _at(each, level) if access.bits}
    keys = [Key(colour, role.value) for role, colour in _ROLE_COLOURS.items() if role in roles]
    other = ", ".join(sorted(role.value for role in roles - set(_ROLE_COLOURS)))
    return [*keys, Key(_OTHER_ROLE, other)] if other else keys


def _dram(simulation: Simulation) -> Chart:
    rows = [_traffic_row(run.layer.name, _by_role(_at(run.counts, Level.DRAM))) for run in simulation.runs]
    note = "Bytes from and to DRAM. What stays on the chip from layer to layer, or image to image, is not among them."
    return bar_chart("DRAM traffic by layer", note, rows, _role_keys([simulation.counts], [Level.DRAM]))


def _traffic(simulation: Simulation) -> Chart:
    """One bar a level of memory."""
    levels = [level for level in LEVEL_NAMES if _at(simulation.counts, level)]
    rows = [_traffic_row(LEVEL_NAMES[level], _by_role(_at(simulation.counts, level))) for level in levels]
    note = "Bytes read and written at each level of memory, all layers together."
    return bar_chart("Memory traffic", note, rows, _role_keys([simulation.counts], levels))


def _times(simulations: Sequence[Simulation], names: Sequence[str]) -> Chart:
    """Time in seconds, since clocks differ."""
    waits = [_waits(simulation) for simulation in simulations]
    rows = []
    for simulation, name, cycles in zip(simulations, names, waits, strict=True):
        clock_hz = simulation.accelerator.clock_hz
        sizes = [("busy", "computing", simulation.compute_cycles)]
        sizes += [(colour, cause.value, cycles.get(cause, 0)) for cause, colour in _STALL_COLOURS.items()]
        parts = [
            Part(count / clock_hz, colour, f"{name}: {what} {time_text(count / clock_hz)}")
            for colour, what, count in sizes
        ]
        rows.append(Row(name, time_text(simulation.seconds), tuple(parts)))
    causes = {cause for cycles in waits for cause, count in cycles.items() if count}
    keys = [Key(colour, cause.value) for cause, colour in _STALL_COLOURS.items() if cause in causes]
    return bar_chart("Time", "Of one batch through all layers.", rows, [Key("busy", "computing"), *keys])


def _waits(simulation: Simulation) -> dict[StallCause, int]:
    """Cycles by cause; where all layers work at the same time, those in which the slowest of them has no input."""
    if simulation.overlap:
        return {StallCause.STARVED: simulation.cycles - simulation.compute_cycles}
    return simulation.stalls


def _of_unit(simulations: Sequence[Simulation], unit: EnergyUnit) -> list[Simulation]:
    return [simulation for simulation in simulations if simulation.technology.unit is unit]


def _energies(simulations: Sequence[Simulation], names: Sequence[str], unit: EnergyUnit) -> Chart:
    rows = [
        _energy_row(name, simulation.energy, simulation.technology)
        for simulation, name in zip(simulations, names, strict=True)
        if simulation.technology.unit is unit
    ]
    shown = _of_unit(simulations, unit)
    titles = "; ".join(sorted({simulation.technology.title for simulation in shown}))
    note = f"Of one batch. Prices: {titles}."
    return bar_chart("Energy", note, rows, _kind_keys([simulation.energy for simulation in shown]))


def _dram_totals(simulations: Sequence[Simulation], names: Sequence[str]) -> Chart:
    rows = [
        _traffic_row(name, _by_role(_at(simulation.counts, Level.DRAM)))
        for simulation, name in zip(simulations, names, strict=True)
    ]
    keys = _role_keys([simulation.counts for simulation in simulations], [Level.DRAM])
    return bar_chart("DRAM traffic", "Bytes from and to DRAM for one batch.", rows, keys)


def waterfall_chart(steps: Sequence[Step], technology: Technology) -> Chart:
    """Return the chart of what each step of compression saves, on a logarithmic scale."""
    falls = []
    for number, step in enumerate(steps):
        before = steps[max(0, number - 1)].energy
        if number == 0 or step.factor == 1:
            times, colour = "", _OTHER_ROLE
        elif step.factor > 1:
            times, colour = f", {ratio_text(step.factor)} less", "saved"
        else:
            times, colour = f", {ratio_text(1 / step.factor)} more", "added"
        value = f"{spent_text(step.energy, technology)}{times}"
        after = 0.0 if number == 0 else step.energy
        falls.append(Fall(step.name, value, before, after, colour, f"{step.name}: {step.detail}"))
    end = steps[-1].energy
    total = f", {ratio_text(steps[0].energy / end)} less in the end" if end else ""
    note = (
        f"Energy of one batch on a logarithmic scale{total}. Above, only weights are fetched; the last two steps add "
        f"what that leaves out. 32 bits from DRAM cost {dram_over_add(technology):,.0f} additions of 32 bits. "
        f"Prices: {technology.title}."
    )
    keys = (Key("saved", "saved by a step"), Key("added", "added by a step"))
    return fall_chart("What compression saves", note, falls, keys)
