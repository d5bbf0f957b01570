"""The timeline as pictures and a table: a row a unit, its cycles from left to right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ._charts import ROW_PIXELS, Key
from ._format import NONE, count_text, percent_text, shortened
from ._report_json import spans_text
from ._stalls import Cause, Wait
from ._tables import Cell, number_cell, text_cell
from .timeline import TIMELINE_RULE, Span, Timeline, UnitRow, Window

BAR_PIXELS = 13
_TEXT_BASE, _BAR_TOP, _LABEL_LENGTH = 13, 19, 30

_COLOURS = {Cause.INPUT: "waits-input", Cause.ROOM: "waits-room", Cause.UNIT: "waits-unit"}
_KEYS = (
    Key("busy", "busy"),
    Key("waits-input", "waits for input"),
    Key("waits-room", "waits for room in the next queue"),
    Key("waits-unit", "waits for another part of itself"),
)


@dataclass(frozen=True)
class StatePath:
    """All of a row's cycles in one state, as an SVG path; 100 high, as wide as there are cycles."""

    css: str
    d: str


@dataclass(frozen=True)
class PictureRow:
    """A unit. `states` and `spans` are what the page's script tells a reader who points at a cycle."""

    unit: str
    label: str
    value: str
    title: str
    text_y: int
    y: int
    paths: tuple[StatePath, ...]
    states: str
    spans: str


@dataclass(frozen=True)
class Picture:
    """One window of the timeline."""

    title: str
    note: str
    cycles: int
    height: int
    bar: int
    rows: tuple[PictureRow, ...]


@dataclass(frozen=True)
class StallRow:
    """A row of the table; the fields are its columns."""

    unit: Cell
    busy: Cell
    input: Cell
    source: Cell
    room: Cell
    target: Cell
    itself: Cell


@dataclass(frozen=True)
class TimelinePart:
    """What the page shows of a timeline; without pictures `empty` says why."""

    rule: str
    pictures: tuple[Picture, ...]
    keys: tuple[Key, ...]
    table_title: str
    rows: tuple[StallRow, ...]
    empty: str


def timeline_part(timeline: Timeline | None, empty: str) -> TimelinePart:
    """Lay out both windows, the steady state first, and its table, or the first image's if nothing is steady."""
    if timeline is None:
        return TimelinePart(TIMELINE_RULE, (), (), "", (), empty)
    pictures = (_steady(timeline), _first(timeline))
    window = timeline.steady or timeline.first
    table = (
        f"Cycles of {count_text(window.cycles)}, {'in the steady state' if timeline.steady else 'of the first image'}"
    )
    shown = tuple(picture for picture in pictures if picture)
    return TimelinePart(TIMELINE_RULE, shown, _KEYS, table, tuple(map(_table_row, window.rows)), "")


def wait_text(wait: Wait) -> str:
    """Return what a unit waits for, in words."""
    match wait.cause:
        case Cause.INPUT:
            return f"waits for {wait.of}"
        case Cause.ROOM:
            return f"waits for room, {wait.of} is full"
        case Cause.UNIT:
            return "waits for another part of itself"


def _steady(timeline: Timeline) -> Picture | None:
    window = timeline.steady
    if window is None:
        return None
    if timeline.samples:
        note = (
            f"From the result of one test image to that of the next: {count_text(window.cycles)} cycles; others differ."
        )
    elif window.images == 1:
        note = f"The {count_text(window.cycles)} cycles that repeat for ever, from the beat with which an image begins."
    else:
        note = f"The {count_text(window.cycles)} cycles that repeat every {window.images} images."
    return _picture("One image after the other", note, window)


def _first(timeline: Timeline) -> Picture:
    window = timeline.first
    note = f"From the first input beat to the first result: {count_text(window.cycles)} cycles; more images follow."
    return _picture("The first image", note, window)


def _picture(title: str, note: str, window: Window) -> Picture:
    rows = tuple(_picture_row(number, row, window.cycles) for number, row in enumerate(window.rows))
    return Picture(title, note, window.cycles, len(rows) * ROW_PIXELS, BAR_PIXELS, rows)


def _picture_row(number: int, row: UnitRow, cycles: int) -> PictureRow:
    states = ("busy", *(wait_text(wait) for wait, _ in row.waits))
    share = f"busy {percent_text(row.busy / cycles)}"
    said = [f"{state} {count_text(count)}" for state, count in zip(states, _counts(row), strict=True)]
    top = number * ROW_PIXELS
    return PictureRow(
        unit=row.unit,
        label=shortened(row.unit, _LABEL_LENGTH),
        value=share,
        title=f"{row.unit}: {', '.join(said)} of {count_text(cycles)} cycles",
        text_y=top + _TEXT_BASE,
        y=top + _BAR_TOP,
        paths=_paths(row),
        states="|".join(states),
        spans=spans_text(row.spans),
    )


def _counts(row: UnitRow) -> tuple[int, ...]:
    return (row.busy, *(cycles for _, cycles in row.waits))


def _paths(row: UnitRow) -> tuple[StatePath, ...]:
    """One path a state; where the order of cycles is not known, states share the height, busy at the bottom."""
    colours = ("busy", *(_COLOURS[wait.cause] for wait, _ in row.waits))
    pieces: dict[str, list[str]] = {colour: [] for colour in colours}
    x = 0
    for span in row.spans:
        for colour, top, height in _layers(span, colours):
            pieces[colour].append(f"M{x} {top}h{span.cycles}v{height}h-{span.cycles}z")
        x += span.cycles
    return tuple(StatePath(colour, "".join(parts)) for colour, parts in pieces.items() if parts)


def _layers(span: Span, colours: Sequence[str]) -> list[tuple[str, int, int]]:
    """(colour, top, height) of the span's states, in hundredths of the bar's height, from the bottom up."""
    layers, used, count = [], 0, 0
    for colour, cycles in zip(colours, span.counts, strict=True):
        count += cycles
        height = 100 * count // span.cycles - used
        if height:
            layers.append((colour, 100 - used - height, height))
        used += height
    return layers


def _table_row(row: UnitRow) -> StallRow:
    def total(cause: Cause) -> Cell:
        cycles = sum(count for wait, count in row.waits if wait.cause is cause)
        return number_cell(cycles, count_text(cycles) if cycles else NONE)

    def units(cause: Cause) -> Cell:
        ranked = sorted((-count, wait.of) for wait, count in row.waits if wait.cause is cause)
        return text_cell(", ".join(unit for _, unit in ranked))

    return StallRow(
        unit=text_cell(row.unit),
        busy=number_cell(row.busy, count_text(row.busy)),
        input=total(Cause.INPUT),
        source=units(Cause.INPUT),
        room=total(Cause.ROOM),
        target=units(Cause.ROOM),
        itself=total(Cause.UNIT),
    )
