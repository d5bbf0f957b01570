"""The table of real builds that the resource model is fitted to, and the fit: of units and of whole designs.

    python benchmarks/resource_table.py measure ice40 --units 0:20 --designs 100:115
    python benchmarks/resource_table.py fit ice40

`measure` adds what is missing to bitkiln/boards/cost/tables/FAMILY.csv: single units, synthesised and packed, and whole
designs, placed and routed, of the networks of these seeds (benchmarks/resource_networks.py, and the random networks of
`bitkiln verify --random`). `fit` writes FAMILY.toml beside it and prints how far off it is on networks that it was not
fitted to (ten folds by network).
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import re
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
from amaranth.back import rtlil
from numpy.typing import NDArray
from resource_networks import LayeredNetwork
from scipy.optimize import nnls

from bitkiln.boards import Family, Resources, cost, find_board
from bitkiln.boards.cost import PARTS, Bill, Part
from bitkiln.hdl.build_plan import build_plan
from bitkiln.hdl.family_tools import family_tools
from bitkiln.hdl.random_network import RandomNetwork
from bitkiln.hdl.toolchain import YOSYS
from bitkiln.hdl.units import unit_component
from bitkiln.ir import Plan, Stage, ToolError
from bitkiln.passes.schedule import PlanOptions, schedule
from bitkiln.sim.queues import size_queues

TABLES = Path(cost.__file__).parent / "tables"
BOARDS = {Family.ICE40: ("icebreaker", "hx8k-breakout"), Family.ECP5: ("ulx3s-85f", "ulx3s-25f")}
FOLDS, ROUNDS, MOST_SECONDS = 10, 30, 120
LEAST_TIMED = 15
"""With fewer designs than that, nothing is said of the clock."""

_USED = re.compile(r"^Info:\s+(\w+):\s+(\d+)/\s*\d+\s+\d+%", re.MULTILINE)

# LUT and FF a part that one would expect: where the table says little, the fit stays near them. On iCE40 a register
# that takes a wire occupies a logic cell, too.
EXPECTED = {
    Part.WIRE_REGISTER: (0.0, 1.0),
    Part.LOGIC_REGISTER: (1.0, 1.0),
    Part.GATE: (1.0, 0.0),
    Part.ADDER: (1.0, 1.0),
    Part.SUM: (1.0, 0.0),
    Part.COMPARATOR: (1.0, 0.0),
    Part.CHAIN: (2.0, 0.0),
    Part.COUNTER: (2.0, 1.0),
    Part.PARTIAL: (2.0, 0.0),
    Part.CONSTANT_ADDER: (1.0, 0.0),
    Part.FULL_ADDER: (2.0, 2.0),
    Part.XNOR: (0.5, 0.0),
    Part.SHIFTER: (0.5, 0.0),
    Part.PRODUCT_REGISTER: (0.0, 1.0),
    Part.ROM: (0.1, 0.0),
    Part.PATTERN: (0.03, 0.0),
    Part.RAM: (0.7, 1.0),
    Part.LUT_RAM: (4.0, 0.0),
    Part.MUX: (1.0, 0.0),
    Part.BYPASS: (1.0, 1.0),
    Part.DELAY: (0.3, 1.0),
    Part.QUEUE_BIT: (1.0, 1.0),
    Part.QUEUE: (6.0, 1.0),
    Part.WINDOW: (20.0, 5.0),
    Part.SPARSE: (30.0, 2.0),
    Part.ELEMENT: (20.0, 2.0),
    Part.UNIT: (5.0, 1.0),
    Part.LINK: (500.0, 350.0),
}
EXPECTED_NS = {"longest": 0.2, "multiplied": 0.2, "size": 0.5, "has_blocks": 1.0, "has_dsp": 1.0}
STRENGTH = 8.0
"""How much an expected coefficient weighs: as so many rows of which its part were a typical share."""

Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class Row:
    """A real build: `case` is network:stage, or network alone for a whole design, which has a clock."""

    case: str
    kind: str
    board: str
    lut: int
    ff: int
    bram: int
    dsp: int
    fmax_mhz: float = 0.0

    @property
    def network(self) -> str:
        return self.case.partition(":")[0]


@cache
def plan_of(network: str) -> Plan:
    """Return the plan of `layered-SEED` or `random-SEED`."""
    kind, _, seed = network.partition("-")
    if kind == "random":
        drawn = RandomNetwork.drawn(int(seed))
        return size_queues(schedule(drawn.graph(), PlanOptions(max_multipliers=drawn.multipliers)))
    layered = LayeredNetwork(int(seed))
    return size_queues(schedule(layered.graph(), layered.options()))


def plan_on(network: str, board: str) -> Plan:
    """Return the plan at the board's clock."""
    return replace(plan_of(network), clock_hz=find_board(board).clock_hz)


def drawn_stages(network: str) -> list[Stage]:
    """Some stages of a network: two with weights, one without, sometimes one that only moves beats."""
    seed = int(network.partition("-")[2])
    stages = list(plan_of(network).stages)
    random.Random(seed).shuffle(stages)
    movers = [stage for stage in stages if stage.unit.kind in ("fork", "resize")]
    weighted = [stage for stage in stages if "matrix" in stage.unit.kind]
    others = [stage for stage in stages if stage not in movers and stage not in weighted]
    return weighted[:2] + others[:1] + movers[: seed % 3 == 0]


def build_unit(plan: Plan, stage: Stage, board_name: str) -> Resources:
    """Synthesise and pack one unit with its queues; its ports are pins."""
    board = find_board(board_name)
    tools = family_tools(board)
    component = unit_component(stage.unit, tuple(plan.stream[name] for name in stage.outputs))
    with tempfile.TemporaryDirectory(dir=".") as temporary:
        folder = tools.files.write(Path(temporary) / "unit") if tools.files.paths else Path(temporary)
        (folder / "top.il").write_text(rtlil.convert(component, name="top", emit_src=False))
        (folder / "unit.ys").write_text(tools.script(True))
        YOSYS.run(("-q", "-s", "unit.ys"), folder, timeout_s=MOST_SECONDS)
        free = f"{tools.constraints[0]}-allow-unconstrained"
        arguments = (*board.nextpnr_arguments, "--pack-only", "--json", "top.json", free)
        packed = tools.place_route.run(arguments, folder, check=False)
        cells = json.loads((folder / "stat.json").read_text())["design"]["num_cells_by_type"]
    least = tools.least(cells)
    used = {name: int(count) for name, count in _USED.findall(packed.log)}
    if not used:
        raise tools.place_route.failure(packed)
    return replace(tools.used(used, least), ff=least.ff)


def measure(family: Family, units: range, designs: range) -> None:
    """Add the rows that the family's table lacks, one at a time."""
    rows = read_table(family)
    done = {row.case for row in rows}
    for seed, what in [*((seed, "unit") for seed in units), *((seed, "design") for seed in designs)]:
        for network in (f"layered-{seed}", f"random-{seed}"):
            try:
                found = _units(network, family, done) if what == "unit" else _designs(network, family, done)
                for row in found:
                    rows.append(row)
                    write_table(family, rows)
                    print(row, flush=True)
            except ToolError as error:
                print(f"{network}: {str(error).splitlines()[0][:160]}", flush=True)


def _units(network: str, family: Family, done: set[str]) -> Iterator[Row]:
    board, plan = BOARDS[family][0], plan_of(network)
    for stage in drawn_stages(network):
        case = f"{network}:{stage.name}"
        if case not in done:
            used = build_unit(plan, stage, board)
            yield Row(case, stage.unit.kind, board, used.lut, used.ff, used.bram, used.dsp)


def _designs(network: str, family: Family, done: set[str]) -> Iterator[Row]:
    board = random.Random(network).choice(BOARDS[family])
    if network not in done:
        built = build_plan(plan_on(network, board), find_board(board))
        used = built.used
        yield Row(network, "design", board, used.lut, used.ff, used.bram, used.dsp, built.fmax_mhz)


def bill_of(row: Row) -> Bill:
    """Return the bill of what a row is of."""
    board, plan = find_board(row.board), plan_on(row.network, row.board)
    if row.kind != "design":
        name = row.case.partition(":")[2]
        (stage,) = (stage for stage in plan.stages if stage.name == name)
        return cost.stage_bill(stage, plan.stream, board)
    return cost.plan_bill(plan, board)


def read_table(family: Family) -> list[Row]:
    """Return the rows of the table, none if there is none yet."""
    file = TABLES / f"{family.value}.csv"
    if not file.is_file():
        return []
    with file.open(newline="") as stream:
        return [
            Row(
                line["case"],
                line["kind"],
                line["board"],
                *(int(line[name]) for name in ("lut", "ff", "bram", "dsp")),
                float(line["fmax_mhz"]),
            )
            for line in csv.DictReader(stream)
        ]


def write_table(family: Family, rows: list[Row], bills: list[Bill] | None = None) -> None:
    """Write the rows, with the bills of parts once they are made."""
    TABLES.mkdir(exist_ok=True)
    with (TABLES / f"{family.value}.csv").open("w", newline="") as stream:
        own = list(asdict(rows[0]))
        writer = csv.DictWriter(stream, [*own, *(part.value for part in PARTS if bills)], lineterminator="\n")
        writer.writeheader()
        for number, row in enumerate(rows):
            parts = {part.value: f"{bills[number].parts.get(part, 0):g}" for part in PARTS} if bills else {}
            writer.writerow(asdict(row) | parts)


def fitted(features: Matrix, found: Matrix, expected: Matrix) -> Matrix:
    """Coefficients of at least 0 that make the sum of relative errors small: least squares, reweighted."""
    scale = 1 / (found + 20)
    weights = np.ones(len(found))
    result = expected
    spread = np.sqrt(((scale[:, None] * features) ** 2).mean(0)) + 1e-6
    prior = STRENGTH * np.diag(spread)
    for _ in range(ROUNDS):
        rows = np.vstack([(scale * weights)[:, None] * features, prior])
        wanted = np.concatenate([scale * weights * found, prior @ expected])
        result, _ = nnls(rows, wanted, maxiter=100 * features.shape[1])
        errors = np.abs(features @ result - found) * scale
        weights = 1 / np.sqrt(np.maximum(errors, 0.02))
    return result


def expectation(family: Family, name: str) -> Matrix:
    """Return `EXPECTED` of all parts, of LUTs or flip-flops, on a family."""
    result = np.array([EXPECTED[part][name == "ff"] for part in PARTS])
    if family is Family.ICE40 and name == "lut":
        alone = (Part.WIRE_REGISTER, Part.DELAY)
        result += np.array([0.8 if part in alone else 0.0 for part in PARTS])
    return result


def held_out(features: Matrix, found: Matrix, expected: Matrix, groups: list[str]) -> Matrix:
    """Return what each row is predicted to be by a fit without the networks of its fold."""
    names = sorted(set(groups))
    random.Random(0).shuffle(names)
    fold = {name: number % FOLDS for number, name in enumerate(names)}
    folds = np.array([fold[name] for name in groups])
    predicted = np.zeros(len(found))
    for number in range(FOLDS):
        inside = folds == number
        if inside.any():
            predicted[inside] = features[inside] @ fitted(features[~inside], found[~inside], expected)
    return predicted


def fit(family: Family) -> None:
    """Fit the family's table, write the coefficients, print the errors."""
    rows = read_table(family)
    bills = [bill_of(row) for row in rows]
    write_table(family, rows, bills)
    features = np.array([[bill.parts.get(part, 0.0) for part in PARTS] for bill in bills])
    groups = [row.network for row in rows]
    is_design = np.array([row.kind == "design" for row in rows])
    lines, errors = [], {}
    for name in ("lut", "ff"):
        found = np.array([float(getattr(row, name)) for row in rows])
        expected = expectation(family, name)
        error = np.abs(held_out(features, found, expected, groups) / found - 1)
        errors[name] = error
        coefficients = fitted(features, found, expected)
        lines += [
            f"[{name}]",
            *(f"{part.value} = {value:.4f}" for part, value in zip(PARTS, coefficients, strict=True)),
        ]
        for what, chosen in (("units", ~is_design), ("designs", is_design)):
            if chosen.any():
                print(f"{family.value} {name} of {chosen.sum()} {what}, held out: {summary(error[chosen])}")
    exact = [(b.blocks == row.bram, b.dsp == row.dsp) for b, row in zip(bills, rows, strict=True)]
    blocks, multipliers = (sum(same) for same in zip(*exact, strict=True))
    print(f"{family.value} BRAM exact {blocks}/{len(rows)}, DSP exact {multipliers}/{len(rows)}")
    for row, bill, same in zip(rows, bills, exact, strict=True):
        if not all(same):
            found = f"BRAM {row.bram}, predicted {bill.blocks}; DSP {row.dsp}, predicted {bill.dsp}"
            print(f"  {row.case} {row.kind}: {found}")
    whole = errors["lut"][is_design] if is_design.any() else errors["lut"]
    head = [
        f"# By `python benchmarks/resource_table.py fit {family.value}`, from the table beside this file.",
        f"lut_error_median = {np.median(whole):.4f}",
        f"lut_error_ninth = {np.quantile(whole, 0.9):.4f}",
    ]
    clock = fit_clock(family, [(r, b) for r, b in zip(rows, bills, strict=True) if r.fmax_mhz], lines)
    (TABLES / f"{family.value}.toml").write_text("\n".join([*head, *lines, *clock]) + "\n")


def summary(error: Matrix) -> str:
    """The median, nine of ten, and the worst, in percent."""
    return f"median {np.median(error):.1%}, nine of ten below {np.quantile(error, 0.9):.1%}, worst {error.max():.1%}"


def fit_clock(family: Family, built: list[tuple[Row, Bill]], lines: list[str]) -> list[str]:
    """Fit the period to the features of the clock; `lines` are those of the coefficients before it."""
    if len(built) < LEAST_TIMED:
        return ["[period_ns]"]
    prices = dict(line.split(" = ") for line in lines[1 : 1 + len(PARTS)])
    luts = [sum(float(prices[part.value]) * n for part, n in bill.parts.items()) for _, bill in built]
    found = [
        cost.clock_features(bill, find_board(row.board), lut) for (row, bill), lut in zip(built, luts, strict=True)
    ]
    names = sorted({name for one in found for name in one})
    features = np.array([[one.get(name, 0.0) for name in names] for one in found])
    periods = np.array([1000 / row.fmax_mhz for row, _ in built])
    expected = np.array([EXPECTED_NS.get(name, 8.0) for name in names])
    error = np.abs(held_out(features, periods, expected, [row.network for row, _ in built]) / periods - 1)
    print(f"{family.value} Fmax of {len(built)} designs, held out: {summary(error)}")
    coefficients = fitted(features, periods, expected)
    return ["[period_ns]", *(f"{name} = {value:.4f}" for name, value in zip(names, coefficients, strict=True))]


def main() -> None:
    """Measure or fit one family."""
    parser = argparse.ArgumentParser(description="The table behind the resource model.")
    parser.add_argument("what", choices=("measure", "fit"))
    parser.add_argument("family", type=Family, help="ice40 or ecp5")
    parser.add_argument("--units", type=_range, default=range(0), metavar="FIRST:END", help="seeds of single units")
    parser.add_argument("--designs", type=_range, default=range(0), metavar="FIRST:END", help="seeds of designs")
    options = parser.parse_args()
    if options.what == "measure":
        measure(options.family, options.units, options.designs)
    else:
        fit(options.family)


def _range(text: str) -> range:
    first, _, end = text.partition(":")
    return range(int(first), int(end))


if __name__ == "__main__":
    main()
