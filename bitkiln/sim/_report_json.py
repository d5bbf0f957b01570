"""report.json: what machines read of a Report."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from bitkiln.ir.coding import STORAGE_RULE

from ._stalls import Cause, Wait
from .counts import Access, Arithmetic, Level
from .design import Design, Layer, Link, MemoryUse
from .energy import Kind, KindEnergy
from .footprint import WORK_RULE
from .technology import RULES, Technology
from .timeline import TIMELINE_RULE, Span, Timeline, UnitRow, Window

if TYPE_CHECKING:
    from .report import Prediction, Report

FORMAT = 1
"""Of report.json: another number means that keys have another meaning, or are gone."""

Plain = dict[str, object]


def report_json(report: Report) -> str:
    """Return report.json: the same report gives the same bytes, and every key is there for every report."""
    return json.dumps(_plain(report), indent=2, sort_keys=True, allow_nan=False) + "\n"


def _plain(report: Report) -> Plain:
    accuracy, storage, design = report.accuracy, report.storage, report.design
    verification, build = report.verification, report.build
    return {
        "format": FORMAT,
        "model": asdict(report.model),
        "recipe": [asdict(step) for step in report.recipe],
        "timeline": _plain_timeline(report.timeline) if report.timeline else None,
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
        "resources_predicted": _plain_prediction(report.prediction),
        "fmax_mhz_predicted": report.prediction.fmax_mhz if report.prediction else None,
        "commands": report.commands,
        "tools": report.tools,
        "digests": dict(report.digests),
        "csynth": asdict(report.csynth) | {"fmax_mhz": report.csynth.fmax_mhz} if report.csynth else None,
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


def _plain_prediction(prediction: Prediction | None) -> Plain:
    return {kind.value: count for kind, count in prediction.resources} if prediction else {}


def _plain_timeline(timeline: Timeline) -> Plain:
    return {
        "rule": TIMELINE_RULE,
        "samples": timeline.samples,
        "first": _plain_window(timeline.first),
        "steady": _plain_window(timeline.steady) if timeline.steady else None,
    }


def _plain_window(window: Window) -> Plain:
    return {
        "cycles": window.cycles,
        "images": window.images,
        "units": [_plain_row(row) for row in window.rows],
    }


def _plain_row(row: UnitRow) -> Plain:
    names = [part.name for part in row.parts]
    return {
        "unit": row.unit,
        "busy": row.busy,
        "waits": [_plain_wait(wait, cycles, names) for wait, cycles in row.waits],
        "spans": spans_text(row.spans),
        "parts": [
            {
                "name": part.name,
                "busy": part.busy,
                "waits": [_plain_wait(wait, cycles, names) for wait, cycles in part.waits],
            }
            for part in row.parts
        ],
    }


def _plain_wait(wait: Wait, cycles: int, parts: Sequence[str]) -> Plain:
    of = parts[wait.part] if wait.cause is Cause.UNIT and parts else wait.of
    return {"for": wait.cause.value, "of": of, "stream": wait.stream, "cycles": cycles}


def spans_text(spans: Iterable[Span]) -> str:
    """Return spans as `cycles:state`, one behind the other: state 0 is busy, n the n-th of the waits.

    What is joined by `+` lies in the same cycles in an order that is not given: `20:0+12:1` are 32 cycles.
    """
    return " ".join("+".join(f"{count}:{state}" for state, count in enumerate(span.counts) if count) for span in spans)
