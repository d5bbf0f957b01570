"""Rows of the pages' tables: counts times prices, and prices with their sources."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ._format import NONE, count_text, energy_text, number_text
from .counts import Access, Arithmetic, Counts
from .energy import counts_energy
from .technology import EnergyUnit, MemoryPrice, Price, Technology

_PARTS = {
    "add": "add",
    "multiply": "multiply",
    "float_add": "float add",
    "float_multiply": "float multiply",
    "logic": "logic gates",
    "mac": "multiply-accumulate",
    "sram": "SRAM",
    "register": "register",
    "network": "network on the chip",
    "dram": "DRAM",
}
"""Parts of an energy table in the order of the page."""


@dataclass(frozen=True)
class Cell:
    """A cell of a sortable table: what it shows and by which number it is sorted, if not by its text."""

    text: str
    sort: str
    css: str


@dataclass(frozen=True)
class CountRow:
    """One kind of operation or access: count times price."""

    what: str
    size: str
    count: Cell
    price: Cell
    energy: Cell


@dataclass(frozen=True)
class PriceRow:
    """One entry of the technology's table."""

    what: str
    energy: str
    source: str
    css: str


def text_cell(text: str | None) -> Cell:
    """Return a cell that is sorted by its text."""
    return Cell(text or NONE, "", "")


def number_cell(value: float | None, text: str = "") -> Cell:
    """Return a cell that is sorted by its value; `text` is what it shows."""
    if value is None:
        return Cell(NONE, "-1", "number")
    return Cell(text or number_text(value), repr(value), "number")


def spent_text(energy: float, technology: Technology) -> str:
    """Return an energy in the technology's unit."""
    return energy_text(energy) if technology.unit is EnergyUnit.PICOJOULE else f"{number_text(energy)} MAC"


def count_rows(counts: Counts, technology: Technology) -> list[CountRow]:
    """Return every operation and access with its price and its energy."""
    return [
        *(_arithmetic_row(item, technology) for item in counts.arithmetic),
        *(_access_row(access, technology) for access in counts.accesses),
    ]


def _arithmetic_row(item: Arithmetic, technology: Technology) -> CountRow:
    energy = counts_energy(Counts(arithmetic=(item,)), technology).total_pj
    what = f"{item.operation.value}: {item.purpose.value}"
    return _count_row(what, f"{item.bits[0]} x {item.bits[1]} bit", item.count, energy, technology)


def _access_row(access: Access, technology: Technology) -> CountRow:
    energy = counts_energy(Counts(accesses=(access,)), technology).total_pj
    memory = access.memory
    size = f"{memory.word_bits}-bit word"
    if memory.capacity_bits:
        size += f" of {count_text(memory.capacity_bits)} bits"
    what = f"{memory.level.value}: {memory.role.value}"
    return _count_row(what, size, access.reads + access.writes, energy, technology)


def _count_row(what: str, size: str, count: int, energy: float, technology: Technology) -> CountRow:
    return CountRow(
        what,
        size,
        number_cell(count, count_text(count)),
        number_cell(energy / count, f"{energy / count:.4g} {technology.unit.value}"),
        number_cell(energy, spent_text(energy, technology)),
    )


def price_rows(technology: Technology) -> list[PriceRow]:
    """Return every entry of the table; one without a source is marked."""
    entries = list(technology.entries())
    return [row for part in _PARTS for name, price in entries if name == part for row in _price_row(name, price)]


def _price_row(name: str, price: Price | MemoryPrice) -> Iterator[PriceRow]:
    css = "source" if price.is_sourced else "source unsourced"
    what, unit = f"{_PARTS[name]}, {price.bits} bit", price.unit.value
    if isinstance(price, MemoryPrice):
        what += f" of {price.capacity_bytes // 1024} KiB"
        if price.write_energy is not None:
            yield PriceRow(f"{what}, read", f"{price.energy:g} {unit}", price.source, css)
            yield PriceRow(f"{what}, write", f"{price.write_energy:g} {unit}", price.source, css)
            return
    yield PriceRow(what, f"{price.energy:g} {unit}", price.source, css)
