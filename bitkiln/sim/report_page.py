"""The report as one HTML file that needs no network. Everything is computed here; the templates only place it."""

from __future__ import annotations

from dataclasses import dataclass

import jinja2

from bitkiln.ir.coding import STORAGE_RULE

from ._cards import cards
from ._flow import flow
from ._format import NONE, NOT_RUN, count_text, energy_text, percent_text, short_count
from ._report_charts import charts
from ._tables import Cell, count_rows, number_cell, price_rows, text_cell
from ._timeline_chart import timeline_part
from .csynth import Rows, csynth_rows
from .design import Layer
from .footprint import COLUMNS, WORK_RULE, TensorFootprint, side_by_side
from .report import Report
from .technology import RULES


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


def render_html(report: Report) -> str:
    """Return the page: the same report gives the same text. What has not been run says so."""
    design = report.design
    return page_template("report.html.j2").render(
        kind="report",
        name=report.model.name,
        subtitle=_subtitle(report),
        cards=cards(report),
        charts=charts(report),
        layers=[_layer_row(layer) for layer in design.layers] if design else [],
        comparison=side_by_side(report.storage.before, report.storage.after) if report.storage else [],
        tensor_columns=COLUMNS,
        tensors=[_tensor_row(tensor) for tensor in report.storage.after.tensors] if report.storage else [],
        storage_rule=STORAGE_RULE,
        work_rule=WORK_RULE,
        flow=flow(design, NOT_RUN),
        timeline=timeline_part(report.timeline, NOT_RUN),
        counts=count_rows(design.activity.total, design.technology) if design else [],
        prices=price_rows(design.technology) if design else [],
        technology=design.technology.title if design else "",
        rules=RULES,
        commands="\n".join(report.commands),
        tools=report.tools,
        digests=report.digests,
        not_run=NOT_RUN,
        csynth=report.csynth,
        csynth_rows=_csynth_rows(report) if report.csynth else [],
    )


def _csynth_rows(report: Report) -> Rows:
    assert report.csynth
    latency = report.design.latency_cycles if report.design else None
    interval = report.design.interval_cycles if report.design else None
    return csynth_rows(report.csynth, latency, interval, report.clock_mhz)


def page_template(name: str) -> jinja2.Template:
    """Return one of the pages' templates: text that is put in is escaped, a name without a value is an error."""
    templates = jinja2.Environment(
        loader=jinja2.PackageLoader("bitkiln", "templates/report"),
        undefined=jinja2.StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return templates.get_template(name)


def _subtitle(report: Report) -> str:
    model = report.model
    text = " → ".join(part for part in (model.input, model.output) if part)
    work = f"{count_text(model.params)} parameters, {short_count(model.macs)} multiply-accumulates an image"
    return f"{text} · {work}" + (f" · {report.board.title}" if report.board else "")


def _tensor_row(tensor: TensorFootprint) -> list[Cell]:
    return [
        text_cell(value) if isinstance(value, str) else number_cell(value, count_text(value)) for value in tensor.cells
    ]


def _layer_row(layer: Layer) -> LayerRow:
    product = layer.pe is not None
    folding = f"{layer.pe} x {layer.simd}" if product else NONE
    storage = f"{layer.storage}, {layer.weight_bits} bit" if product else None
    return LayerRow(
        name=text_cell(layer.name),
        op=text_cell(layer.op),
        unit=text_cell(layer.unit),
        shape=text_cell("x".join(str(size) for size in layer.shape)),
        number=text_cell(layer.number),
        params=number_cell(layer.params, count_text(layer.params)),
        macs=number_cell(layer.macs, count_text(layer.macs)),
        folding=number_cell(layer.multipliers if product else None, folding),
        multipliers=number_cell(layer.multipliers, count_text(layer.multipliers)),
        storage=text_cell(storage),
        cycles=number_cell(layer.busy_cycles, count_text(layer.busy_cycles)),
        utilisation=number_cell(layer.utilisation, percent_text(layer.utilisation)),
        energy=number_cell(layer.energy.total_pj, energy_text(layer.energy.total_pj)),
        queue=number_cell(max(layer.queue_depths), ", ".join(str(depth) for depth in layer.queue_depths)),
    )
