"""The charts of the report's page: which bars they have and what the bars say."""

from __future__ import annotations

from bitkiln.boards import Resource
from bitkiln.ir.coding import STORAGE_RULE

from ._charts import Chart, Key, Part, Row, bar_chart
from ._format import NOT_RUN, bits_text, bytes_text, count_text, energy_text, percent_text, ratio_text
from .counts import Level
from .design import Design, Layer, MemoryUse
from .energy import Kind, KindEnergy
from .report import Report

_RESOURCE_NAMES = {
    Resource.LUT: "Logic cells (LUT)",
    Resource.FF: "Flip-flops (FF)",
    Resource.BRAM: "Block RAM",
    Resource.DSP: "Multipliers (DSP)",
    Resource.SPRAM: "Large RAM (SPRAM)",
}
_LEVEL_NAMES = {Level.SRAM: "SRAM", Level.REGISTER: "registers", Level.DRAM: "off chip"}
_KIND_NAMES = {
    Kind.MULTIPLY: "multiply",
    Kind.ADD: "add",
    Kind.REGISTER: "registers",
    Kind.SRAM: "SRAM",
    Kind.DRAM: "off chip (DRAM)",
}
_KIND_KEYS = tuple(Key(kind.value, name) for kind, name in _KIND_NAMES.items())
_LEVEL_KEYS = tuple(Key(level.value, _LEVEL_NAMES[level]) for level in (Level.SRAM, Level.REGISTER, Level.DRAM))


def charts(report: Report) -> tuple[Chart, ...]:
    """Return all charts, also the empty ones."""
    design = report.design
    return (
        _cycles(design),
        _accuracy(report),
        _storage(report),
        _layer_energy(design),
        _resources(report),
        _capacity(design),
        _weights_in_dram(design),
        _traffic(design),
    )


def _cycles(design: Design | None) -> Chart:
    title, note = "Cycles a stage", "Steps of one image against the interval between images (pale)."
    rows = [_busy(layer, design.interval_cycles) for layer in design.layers] if design else []
    return bar_chart(title, note, rows, empty=NOT_RUN)


def _busy(layer: Layer, interval: int) -> Row:
    share = percent_text(layer.utilisation)
    title = f"{layer.name}: busy {count_text(layer.busy_cycles)} of {count_text(interval)} cycles, {share}"
    part = Part(layer.busy_cycles, "busy", title)
    return Row(layer.name, f"{count_text(layer.busy_cycles)} ({share})", (part,), interval)


def _layer_energy(design: Design | None) -> Chart:
    title, note = "Energy a stage", "One image, by what it is spent on; a comparison counts as an addition."
    rows = [_energy_row(entry.name, entry.by_kind) for entry in design.energy.by_stage] if design else []
    return bar_chart(title, note, rows, _KIND_KEYS, NOT_RUN)


def _energy_row(name: str, energy: KindEnergy) -> Row:
    parts = tuple(
        Part(pj, kind.value, f"{name}: {_KIND_NAMES[kind]} {energy_text(pj)}")
        for kind, pj in energy
        if kind in _KIND_NAMES
    )
    return Row(name, energy_text(energy.total_pj), parts)


def _resources(report: Report) -> Chart:
    board = report.board
    note = f"What the design takes of {board.title}." if board else "What the design takes of its board."
    rows = [
        Row(
            _RESOURCE_NAMES[kind],
            f"{count_text(used)} of {count_text(available)}",
            (Part(used / max(available, 1), "busy", f"{_RESOURCE_NAMES[kind]}: {used:,} of {available:,}"),),
            1.0,
        )
        for kind, used, available in report.resources
        if used is not None
    ]
    return bar_chart("Resources", note, rows, empty=NOT_RUN)


def _accuracy(report: Report) -> Chart:
    found = report.accuracy
    shares = (("Float", found.float_), ("Quantised (golden model)", found.golden)) if found else ()
    rows = [
        Row(name, percent_text(share), (Part(share, "busy", f"{name}: {100 * share:.2f} %"),), 1.0)
        for name, share in shares
        if share is not None
    ]
    note = f"Of {found.images:,} test images." if found else "Of the test images."
    return bar_chart("Accuracy", note, rows, empty=NOT_RUN)


def _storage(report: Report) -> Chart:
    storage = report.storage
    sizes = (("Float, dense", storage.dense_bytes), ("Stored", storage.stored_bytes)) if storage else ()
    rows = [
        Row(name, f"{count_text(size)} B", (Part(size, "busy", f"{name}: {bytes_text(size)}"),)) for name, size in sizes
    ]
    return bar_chart("Storage", STORAGE_RULE, rows, empty=NOT_RUN)


def _capacity(design: Design | None) -> Chart:
    rows = [_capacity_row(use) for use in design.memories if use.capacity_bits] if design else []
    note = "Memory that the plan keeps on the chip. Weights that are wired as constants take none."
    return bar_chart("Memory on the chip", note, rows, _LEVEL_KEYS[:2], NOT_RUN)


def _capacity_row(use: MemoryUse) -> Row:
    name = f"{use.role.value} ({_LEVEL_NAMES[use.level]})"
    part = Part(use.capacity_bits, use.level.value, f"{name}: {count_text(use.capacity_bits)} bits")
    return Row(name, bits_text(use.capacity_bits), (part,))


def _traffic(design: Design | None) -> Chart:
    rows = [_traffic_row(use) for use in design.memories] if design else []
    note = "Read and written for one image. The host link leaves the chip and is priced as DRAM."
    return bar_chart("Memory traffic", note, rows, _LEVEL_KEYS, NOT_RUN)


def _traffic_row(use: MemoryUse) -> Row:
    name = f"{use.role.value} ({_LEVEL_NAMES[use.level]})"
    title = f"{name}: {count_text(use.read_bits)} bits read, {count_text(use.written_bits)} written"
    return Row(name, bits_text(use.moved_bits), (Part(use.moved_bits, use.level.value, title),))


def _weights_in_dram(design: Design | None) -> Chart:
    title = "SRAM or DRAM"
    if design is None:
        return bar_chart(title, "What it costs if the weights do not fit on the chip.", [], empty=NOT_RUN)
    more = ratio_text(design.weights_from_dram.total_pj / design.energy.total_pj)
    bits = count_text(design.activity.weight_bits)
    note = f"Energy of one image as planned, and if all {bits} weight bits came from DRAM once an image: {more}."
    rows = [
        _energy_row("Weights on the chip", design.energy.by_kind),
        _energy_row("Weights from DRAM", design.weights_from_dram.by_kind),
    ]
    return bar_chart(title, note, rows, _KIND_KEYS)
