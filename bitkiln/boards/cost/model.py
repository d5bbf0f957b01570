"""What a Plan takes on a board, before synthesis: counts from the bill of its parts, clock from its longest paths.

Blocks of RAM and multipliers follow from synthesis' own rules; LUTs, flip-flops and the clock's period are linear in
the bill, with the coefficients that `benchmarks/resource_table.py` fits to real builds of each family.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from bitkiln.boards import Board, Family, Resources
from bitkiln.ir import Plan, Stage, Stream

from .bill import Bill, Part
from .link import WeightSource, link_bill
from .units import constant_output_bits, queue, unit_bill


@dataclass(frozen=True)
class Coefficients:
    """LUTs and flip-flops a part, nanoseconds a feature of the clock, and how far the fit is off on networks it has not
    seen: shares of the real number, the median and that which nine of ten stay below.
    """

    lut: Mapping[Part, float]
    ff: Mapping[Part, float]
    period_ns: Mapping[str, float]
    lut_error_median: float
    lut_error_ninth: float


@dataclass(frozen=True)
class Prediction:
    """What a Plan takes, in all and for each stage (the link of the host comes under ""), and its clock."""

    used: Resources
    stages: Mapping[str, Resources]
    fmax_mhz: float | None


@cache
def coefficients(family: Family) -> Coefficients:
    """Return the fit of a family."""
    table = tomllib.loads(files(__package__).joinpath("tables", f"{family.value}.toml").read_text("utf-8"))
    return Coefficients(
        {Part(name): value for name, value in table["lut"].items()},
        {Part(name): value for name, value in table["ff"].items()},
        table["period_ns"],
        table["lut_error_median"],
        table["lut_error_ninth"],
    )


def has_model(family: Family) -> bool:
    """Whether the family has a fit."""
    return files(__package__).joinpath("tables", f"{family.value}.toml").is_file()


def priced(bill: Bill) -> Resources:
    """Return the resources of a bill."""
    found = coefficients(bill.family)
    lut, ff = (sum(prices.get(part, 0.0) * n for part, n in bill.parts.items()) for prices in (found.lut, found.ff))
    return Resources(lut=round(lut), ff=round(ff), bram=bill.blocks, dsp=bill.dsp, spram=bill.spram)


def stage_bill(stage: Stage, streams: Mapping[str, Stream], board: Board) -> Bill:
    """Return the bill of one stage with its queues."""
    return unit_bill(stage.unit, tuple(streams[name] for name in stage.outputs), board)


def plan_bills(plan: Plan, board: Board) -> dict[str, Bill]:
    """Return the bill of each stage, and under "" that of the host link."""
    source, sink = plan.stream[plan.input_stream], plan.stream[plan.output_stream]
    (last,) = (stage.unit for stage in plan.stages if plan.output_stream in stage.outputs)
    weights = WeightSource.of(stage.unit for stage in plan.stages)
    around = link_bill(board, source, sink, weights, constant_output_bits(last))
    queue(around, source)
    return {"": around} | {stage.name: stage_bill(stage, plan.stream, board) for stage in plan.stages}


def plan_bill(plan: Plan, board: Board) -> Bill:
    """Return the bill of the whole design."""
    return merged(board, plan_bills(plan, board).values())


def merged(board: Board, bills: Iterable[Bill]) -> Bill:
    """Return one bill of all."""
    total = Bill(board)
    for bill in bills:
        total.merge(bill)
    return total


def predict(plan: Plan, board: Board) -> Prediction:
    """Return what `plan` will take on `board`, host link included."""
    bills = plan_bills(plan, board)
    total = merged(board, bills.values())
    return Prediction(priced(total), {name: priced(bill) for name, bill in bills.items()}, clock_mhz(total, board))


def predict_resources(plan: Plan, board: Board) -> Resources:
    """Return the resources alone.

    >>> predict_resources(plan, find_board("icebreaker")).bram
    12
    """
    return predict(plan, board).used


_SLOWNESS = {"lp8k": 1.5, "up5k": 2.4}
"""How many times longer paths take than on the fastest device of the family: lp8k by icestorm's timings_lp8k.txt, up5k
as the builds in the table show it. Other speed grades of ECP5 are taken for the slowest, 6.
"""


def clock_features(bill: Bill, board: Board, lut: float) -> dict[str, float]:
    """What the clock's period is linear in."""
    features = {
        "base": 1.0,
        "longest": bill.longest,
        "multiplied": bill.multiplied,
        "size": math.log2(max(lut, 1)),
        "has_blocks": bill.blocks > 0,
        "has_dsp": bill.dsp > 0,
    }
    return {name: _SLOWNESS.get(board.device, 1.0) * value for name, value in features.items()}


def clock_mhz(bill: Bill, board: Board) -> float | None:
    """Return the fastest clock, as place and route would report it; None if no build of the family has been timed."""
    prices = coefficients(board.family).period_ns
    if not prices:
        return None
    features = clock_features(bill, board, priced(bill).lut)
    return round(1000 / sum(prices[name] * value for name, value in features.items()), 1)
