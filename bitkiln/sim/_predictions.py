"""What was predicted before it was measured: cycles by the exact model, resources and clock by a fitted one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from bitkiln.boards import Resource

from ._charts import Chart, Point, dot_chart, no_chart
from ._format import NOT_RUN, number_text
from .report import Report

RESOURCE_NAMES = {
    Resource.LUT: "Logic cells (LUT)",
    Resource.FF: "Flip-flops (FF)",
    Resource.BRAM: "Block RAM",
    Resource.DSP: "Multipliers (DSP)",
    Resource.SPRAM: "Large RAM (SPRAM)",
}

_LEAST_RANGE = 0.1
_NOTE = "How far the prediction is from what the RTL, synthesis, place and route then gave; the line is no difference."


@dataclass(frozen=True)
class Pair:
    """One quantity, predicted and measured; `is_exact_model` says that any difference is a mistake."""

    name: str
    predicted: float
    measured: float
    is_exact_model: bool = False

    @property
    def error(self) -> float:
        """The prediction's difference as a share of what was measured."""
        if self.predicted == self.measured:
            return 0.0
        return (self.predicted - self.measured) / self.measured if self.measured else 1.0


def pairs(report: Report) -> Iterator[Pair]:
    """Return what is known both ways."""
    design, rtl, build, prediction = report.design, report.verification, report.build, report.prediction
    if design and rtl:
        yield Pair("Latency", design.latency_cycles, rtl.rtl_latency, True)
        if rtl.rtl_interval is not None:
            yield Pair("Interval", design.interval_cycles, rtl.rtl_interval, True)
    if build and prediction:
        for kind, predicted in prediction.resources:
            if predicted or build.used[kind]:
                yield Pair(RESOURCE_NAMES[kind], predicted, build.used[kind])
        if prediction.fmax_mhz is not None:
            yield Pair("Fmax, MHz", prediction.fmax_mhz, build.fmax_mhz)


def predicted_and_measured(report: Report) -> Chart:
    """Return a row a quantity, its dot as far from the line as the prediction from the measurement."""
    title, found = "Predicted against measured", list(pairs(report))
    if not found:
        return no_chart(title, _NOTE, NOT_RUN)
    reach = max(_LEAST_RANGE, *(abs(pair.error) * 1.1 for pair in found))
    points = [_point(pair) for pair in found]
    scale = f" The edges are {100 * reach:.0f} % too low and too high."
    return dot_chart(title, _NOTE + scale, points, -reach, reach, rule=0.0)


def _point(pair: Pair) -> Point:
    numbers = f"{number_text(pair.predicted)} / {number_text(pair.measured)}"
    difference = "exact" if not pair.error else f"{100 * pair.error:+.1f} %"
    colour = "good" if not pair.error else "bad" if pair.is_exact_model else "busy"
    title = f"{pair.name}: predicted {number_text(pair.predicted)}, measured {number_text(pair.measured)}, {difference}"
    return Point(pair.name, f"{numbers}, {difference}", pair.error, colour, title)
