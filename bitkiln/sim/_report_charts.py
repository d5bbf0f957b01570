"""The charts of the report's page: which bars they have and what the bars say."""

from __future__ import annotations

from bitkiln.ir.coding import STORAGE_RULE

from ._charts import Chart, Key, Part, Point, Row, bar_chart, dot_chart, no_chart
from ._dataflow_roofline import dataflow_roofline
from ._format import NOT_RUN, bits_text, bytes_text, count_text, energy_text, percent_text, ratio_text
from ._predictions import RESOURCE_NAMES, predicted_and_measured
from .counts import Level
from .design import Design, Layer, MemoryUse
from .energy import Kind, KindEnergy
from .report import Report

_LEVEL_NAMES = {Level.SRAM: "SRAM", Level.REGISTER: "registers", Level.DRAM: "off chip"}
_KIND_NAMES = {
    Kind.MULTIPLY: "multiply",
    Kind.ADD: "add",
    Kind.REGISTER: "registers",
    Kind.SRAM: "SRAM",
    Kind.DRAM: "off chip (DRAM)",
}
_LEAST_ACCURACY_RANGE, _ACCURACY_MARGIN = 0.005, 0.25
"""Of the scale of accuracies: what differs by less than half a point shall not look far apart."""
_KIND_KEYS = tuple(Key(kind.value, name) for kind, name in _KIND_NAMES.items())
_LEVEL_KEYS = tuple(Key(level.value, _LEVEL_NAMES[level]) for level in (Level.SRAM, Level.REGISTER, Level.DRAM))


def charts(report: Report) -> tuple[Chart, ...]:
    """Return all charts, also the empty ones."""
    design = report.design
    return (
        _cycles(design),
        _recipe(report),
        _resources(report),
        predicted_and_measured(report),
        _layer_energy(design),
        _energy(design),
        _weights_in_dram(design),
        _capacity(design),
        dataflow_roofline(design, report.link_images_per_second, NOT_RUN),
        _storage(report),
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
            RESOURCE_NAMES[kind],
            f"{count_text(used)} of {count_text(available)}",
            (Part(used / max(available, 1), "busy", f"{RESOURCE_NAMES[kind]}: {used:,} of {available:,}"),),
            1.0,
        )
        for kind, used, available in report.resources
        if used is not None
    ]
    return bar_chart("Resources", note, rows, empty=NOT_RUN)


def _recipe(report: Report) -> Chart:
    """Accuracy after each pass; before there were recipes in reports, of the float and the integer network."""
    title, found = "Accuracy, step by step", report.accuracy
    note = f"Of {found.images:,} test images, after each pass." if found else "Of the test images, after each pass."
    steps = [(step.name, step.options, step.accuracy) for step in report.recipe]
    if not steps and found:
        shares = (("float", found.float_), ("quantised (golden model)", found.golden))
        steps = [(name, "", share) for name, share in shares if share is not None]
    if not steps:
        return no_chart(title, note, NOT_RUN)
    shares_found = [share for _, _, share in steps]
    room = max(_LEAST_ACCURACY_RANGE, max(shares_found) - min(shares_found)) * _ACCURACY_MARGIN
    low, high = max(0.0, min(shares_found) - room), min(1.0, max(shares_found) + room)
    points = [
        Point(
            name,
            f"{100 * share:.2f} %",
            share,
            "busy",
            ": ".join(filter(None, (name, options, f"{100 * share:.2f} %"))),
        )
        for name, options, share in steps
    ]
    scale = f" The scale is from {percent_text(low)} to {percent_text(high)}."
    return dot_chart(title, note + scale, points, low, high)


def _energy(design: Design | None) -> Chart:
    """The whole image by kind; every kind but the arithmetic is a level of memory."""
    title, note = "Energy by kind and memory level", "One image; registers, SRAM and off chip are the levels of memory."
    if design is None:
        return no_chart(title, note, NOT_RUN)
    total = design.energy.total_pj
    rows = [
        Row(
            _KIND_NAMES[kind],
            f"{energy_text(pj)} ({percent_text(pj / total)})",
            (Part(pj, kind.value, f"{_KIND_NAMES[kind]}: {energy_text(pj)} of {energy_text(total)}"),),
        )
        for kind, pj in design.energy.by_kind
        if kind in _KIND_NAMES
    ]
    return bar_chart(title, note, rows)


def _storage(report: Report) -> Chart:
    """The compressed network's constants in each format, between the float network and the file."""
    storage = report.storage
    if storage is None:
        return no_chart("Storage by format", STORAGE_RULE, NOT_RUN)
    tensors = storage.after.tensors
    sizes = [
        ("float, dense", storage.dense_bytes, "quiet"),
        ("codes, dense", sum(tensor.dense_bytes for tensor in tensors), "busy"),
        ("compressed rows (CSR)", sum(tensor.csr_bytes for tensor in tensors), "busy"),
        ("compressed columns (CSC)", sum(tensor.csc_bytes for tensor in tensors), "busy"),
        ("bitmap and values", sum(tensor.bitmap_bytes for tensor in tensors), "busy"),
        ("relative index", sum(tensor.relative_bytes for tensor in tensors), "busy"),
        ("as stored (.kiln)", storage.stored_bytes, "good"),
    ]
    rows = [
        Row(name, f"{count_text(size)} B", (Part(size, colour, f"{name}: {bytes_text(size)}"),))
        for name, size, colour in sizes
    ]
    return bar_chart("Storage by format", STORAGE_RULE, rows)


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
