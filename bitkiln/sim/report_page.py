"""The report as one HTML file that needs no network. Everything is computed here; the templates only place it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import jinja2

from ._cards import cards
from ._flow import flow
from ._format import NONE, NOT_RUN, count_text, energy_text, number_text, percent_text
from ._report_charts import charts
from .counts import Access, Arithmetic, Counts
from .design import Design, Layer
from .energy import counts_energy
from .report import Report
from .technology import RULES, Technology


@dataclass(frozen=True)
class Cell:
    """A cell of a sortable table: what it shows and by which number it is sorted, if not by its text."""

    text: str
    sort: str
    css: str


@dataclass(frozen=True)
class LayerRow:
    """A row of the layer table; the fields are its columns."""

    name: Cell
    op: Cell
    unit: Cell
    shape: Cell
    number: Cell
    params: Cell
    macs: Cell
    folding: Cell
    multipliers: Cell
    storage: Cell
    cycles: Cell
    utilisation: Cell
    energy: Cell
    queue: Cell


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


def render_html(report: Report) -> str:
    """Return the page: the same report gives the same text. What has not been run says so."""
    templates = jinja2.Environment(
        loader=jinja2.PackageLoader("bitkiln", "templates/report"),
        undefined=jinja2.StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    design = report.design
    return templates.get_template("report.html.j2").render(
        name=report.model.name,
        subtitle=_subtitle(report),
        cards=cards(report),
        charts=charts(report),
        layers=[_layer_row(layer) for layer in design.layers] if design else [],
        flow=flow(design, NOT_RUN),
        counts=_count_rows(design) if design else [],
        prices=_price_rows(design.technology) if design else [],
        technology=design.technology.title if design else "",
        rules=RULES,
        commands="\n".join(report.commands),
        tools=report.tools,
        not_run=NOT_RUN,
    )


def _subtitle(report: Report) -> str:
    parts = [report.model.input, report.model.output]
    text = " → ".join(part for part in parts if part)
    return f"{text} on {report.board.title}" if report.board else text


def _text(text: str | None) -> Cell:
    return Cell(text or NONE, "", "")


def _number(value: float | None, text: str = "") -> Cell:
    if value is None:
        return Cell(NONE, "-1", "number")
    return Cell(text or number_text(value), repr(value), "number")


def _layer_row(layer: Layer) -> LayerRow:
    product = layer.pe is not None
    folding = f"{layer.pe} x {layer.simd}" if product else NONE
    storage = f"{layer.storage}, {layer.weight_bits} bit" if product else None
    return LayerRow(
        name=_text(layer.name),
        op=_text(layer.op),
        unit=_text(layer.unit),
        shape=_text("x".join(str(size) for size in layer.shape)),
        number=_text(layer.number),
        params=_number(layer.params, count_text(layer.params)),
        macs=_number(layer.macs, count_text(layer.macs)),
        folding=_number(layer.multipliers if product else None, folding),
        multipliers=_number(layer.multipliers, count_text(layer.multipliers)),
        storage=_text(storage),
        cycles=_number(layer.busy_cycles, count_text(layer.busy_cycles)),
        utilisation=_number(layer.utilisation, percent_text(layer.utilisation)),
        energy=_number(layer.energy.total_pj, energy_text(layer.energy.total_pj)),
        queue=_number(max(layer.queue_depths), ", ".join(str(depth) for depth in layer.queue_depths)),
    )


def _count_rows(design: Design) -> list[CountRow]:
    total = design.activity.total
    return [
        *(_arithmetic_row(item, design.technology) for item in total.arithmetic),
        *(_access_row(access, design.technology) for access in total.accesses),
    ]


def _arithmetic_row(item: Arithmetic, technology: Technology) -> CountRow:
    energy_pj = counts_energy(Counts(arithmetic=(item,)), technology).total_pj
    what = f"{item.operation.value}: {item.purpose.value}"
    return _count_row(what, f"{item.bits[0]} x {item.bits[1]} bit", item.count, energy_pj)


def _access_row(access: Access, technology: Technology) -> CountRow:
    energy_pj = counts_energy(Counts(accesses=(access,)), technology).total_pj
    memory = access.memory
    size = f"{memory.word_bits}-bit word"
    if memory.capacity_bits:
        size += f" of {count_text(memory.capacity_bits)} bits"
    what = f"{memory.level.value}: {memory.role.value}"
    return _count_row(what, size, access.reads + access.writes, energy_pj)


def _count_row(what: str, size: str, count: int, energy_pj: float) -> CountRow:
    price_pj = energy_pj / count
    return CountRow(
        what,
        size,
        _number(count, count_text(count)),
        _number(price_pj, f"{price_pj:.4g} pJ"),
        _number(energy_pj, energy_text(energy_pj)),
    )


def _price_rows(technology: Technology) -> Sequence[PriceRow]:
    def row(what: str, energy: float, unit: str, source: str) -> PriceRow:
        return PriceRow(what, f"{energy:g} {unit}", source)

    return [
        *(row(f"add, {price.bits} bit", price.energy, price.unit.value, price.source) for price in technology.add),
        *(
            row(f"multiply, {price.bits} bit", price.energy, price.unit.value, price.source)
            for price in technology.multiply
        ),
        *(
            row(
                f"SRAM, {price.bits} bit of {price.capacity_bytes // 1024} KiB",
                price.energy,
                price.unit.value,
                price.source,
            )
            for price in technology.sram
        ),
        *(
            row(f"{name}, {price.bits} bit", price.energy, price.unit.value, price.source)
            for name, price in (("register", technology.register), ("DRAM", technology.dram))
        ),
    ]
