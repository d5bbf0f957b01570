"""The summary at the head of the report's page: one card a question."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from ._format import (
    NOT_RUN,
    bytes_text,
    count_text,
    energy_text,
    number_text,
    percent_text,
    rate_text,
    ratio_text,
    shortened,
)
from .report import Report


class State(StrEnum):
    """How a card looks."""

    PLAIN = "plain"
    GOOD = "good"
    BAD = "bad"
    EMPTY = "empty"


@dataclass(frozen=True)
class Card:
    """A number that answers a question, and what it is measured against."""

    label: str
    value: str
    note: str
    state: State


def cards(report: Report) -> tuple[Card, ...]:
    """Return the summary, the same cards for every report."""
    return (
        _accuracy(report),
        _verification(report),
        _speed(report),
        _cycles(report),
        _energy(report),
        _storage(report),
        _bottleneck(report),
        _resources(report),
        _clock(report),
        _bitstream(report),
    )


def _empty(label: str, note: str = "") -> Card:
    return Card(label, NOT_RUN, note, State.EMPTY)


def _bottleneck(report: Report) -> Card:
    """The units that never wait once images follow each other, or the ends of the design."""
    label, steady = "Bottleneck", report.timeline.steady if report.timeline else None
    if steady is None:
        return _empty(label)
    busiest = max(row.busy for row in steady.rows)
    names = [row.unit for row in steady.rows if row.busy == busiest]
    others = f"; so {'is' if len(names) == 2 else 'are'} {len(names) - 1} more" if len(names) > 1 else ""
    note = f"busy {percent_text(busiest / steady.cycles)} of the interval{others}"
    return Card(label, shortened(names[0], 22), note, State.PLAIN)


def _accuracy(report: Report) -> Card:
    found = report.accuracy
    if found is None or (found.golden is None and found.float_ is None):
        return _empty("Accuracy")
    if found.golden is None:
        assert found.float_ is not None
        return Card("Accuracy, float", percent_text(found.float_), f"{found.images:,} test images", State.PLAIN)
    before = "" if found.float_ is None else f"float {percent_text(found.float_)}, "
    return Card("Accuracy", percent_text(found.golden), f"{before}{found.images:,} test images", State.PLAIN)


def _verification(report: Report) -> Card:
    found = report.verification
    if found is None:
        return _empty("RTL mismatches", "against the golden model")
    note = f"{found.images:,} images against the golden model ({found.simulator})"
    return Card("RTL mismatches", count_text(found.mismatches), note, State.BAD if found.mismatches else State.GOOD)


def _speed(report: Report) -> Card:
    design, link = report.design, report.link_images_per_second
    if design is None:
        return _empty("Images a second")
    note = f"{number_text(design.clock_hz / 1e6)} MHz / {count_text(design.interval_cycles)} cycles"
    if link is not None:
        note += f"; the serial link carries {rate_text(link)}"
    return Card("Images a second", rate_text(design.images_per_second), note, State.PLAIN)


def _cycles(report: Report) -> Card:
    design, found = report.design, report.verification
    if design is None:
        return _empty("Latency, cycles")
    label, value = "Latency, cycles", count_text(design.latency_cycles)
    if found is None:
        return Card(label, value, "predicted; RTL not run", State.PLAIN)
    is_latency_equal = found.rtl_latency == design.latency_cycles
    is_interval_equal = found.rtl_interval in (None, design.interval_cycles)
    if is_latency_equal and is_interval_equal:
        return Card(label, value, "predicted; the RTL takes exactly as many", State.GOOD)
    took = f"{count_text(found.rtl_latency)}, interval {count_text(found.rtl_interval)}"
    return Card(label, value, f"predicted; the RTL takes {took}", State.BAD)


def _energy(report: Report) -> Card:
    design = report.design
    if design is None:
        return _empty("Energy an image")
    more = design.weights_from_dram.total_pj / design.energy.total_pj
    note = f"{design.technology.title}; {ratio_text(more)} with weights in DRAM"
    return Card("Energy an image", energy_text(design.energy.total_pj), note, State.PLAIN)


def _storage(report: Report) -> Card:
    storage = report.storage
    if storage is None:
        return _empty("Storage")
    ratio = ratio_text(storage.dense_bytes / storage.stored_bytes) if storage.stored_bytes else ""
    note = f"float {bytes_text(storage.dense_bytes)}, {ratio} smaller" if ratio else ""
    return Card("Storage", bytes_text(storage.stored_bytes), note, State.PLAIN)


def _resources(report: Report) -> Card:
    board = report.board
    if board is None:
        return _empty("Resources")
    shares = [(used / available, kind) for kind, used, available in report.resources if used is not None and available]
    if not shares:
        return _empty("Resources", board.title)
    share, kind = max(shares, key=lambda entry: entry[0])
    return Card(f"Most used: {kind.value.upper()}", percent_text(share), board.title, State.PLAIN)


def _clock(report: Report) -> Card:
    clock = "" if report.clock_mhz is None else f"clock {number_text(report.clock_mhz)} MHz"
    if report.build is None:
        return _empty("Fastest clock", clock)
    fmax = report.build.fmax_mhz
    is_met = report.clock_mhz is None or fmax >= report.clock_mhz
    clock += f"; {report.build.caveat}" if report.build.caveat else ""
    return Card("Fastest clock", f"{fmax:.1f} MHz", clock, State.GOOD if is_met else State.BAD)


def _bitstream(report: Report) -> Card:
    build = report.build
    if build is None:
        return _empty("Bitstream")
    return Card("Bitstream", bytes_text(build.bitstream_bytes), build.bitstream, State.PLAIN)
