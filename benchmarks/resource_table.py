"""The table of real builds that the resource model is fitted to, and the fit: of units and of whole designs.

    python benchmarks/resource_table.py measure ice40 --units 0:20 --designs 100:116 --designs 200:216 --routed 200:204
    python benchmarks/resource_table.py fit ice40

`measure` adds what is missing to bitkiln/boards/cost/tables/FAMILY.csv: single units and whole designs, synthesised and
packed, or placed and routed as well, of the networks of these seeds (benchmarks/resource_networks.py, and the random
networks of `bitkiln verify --random`). `fit` writes FAMILY.toml beside it and prints how far off it is on networks that
it was not fitted to: whole designs of seeds from 200 on, which no fit sees, and the others in ten folds by network.
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

from bitkiln.boards import Board, Family, Resources, cost, find_board
from bitkiln.boards.cost import PARTS, Bill, Part
from bitkiln.hdl.accelerator import Accelerator
from bitkiln.hdl.board_top import board_bundle
from bitkiln.hdl.build_plan import build_plan
from bitkiln.hdl.bundle import Bundle
from bitkiln.hdl.family_tools import family_tools
from bitkiln.hdl.plan_identity import plan_identity
from bitkiln.hdl.random_network import RandomNetwork
from bitkiln.hdl.renewal import template
from bitkiln.hdl.toolchain import YOSYS
from bitkiln.hdl.units import unit_component
from bitkiln.ir import Plan, Stage, ToolError
from bitkiln.ir.units import DspBlock, MatrixVector
from bitkiln.passes.schedule import schedule
from bitkiln.sim.queues import size_queues

TABLES = Path(cost.__file__).parent / "tables"
BOARDS = {
    Family.ICE40: ("icebreaker", "hx8k-breakout"),
    Family.ECP5: ("ulx3s-85f", "ulx3s-25f"),
    Family.GOWIN: ("tang-nano-20k", "tang-nano-9k"),
}
FREE_PINS = {
    Family.ICE40: ("--pcf-allow-unconstrained",),
    Family.ECP5: ("--lpf-allow-unconstrained",),
    Family.GOWIN: (),
}
FOLDS, ROUNDS, MOST_SECONDS = 10, 30, 120
MOST_LUT = 4500
"""Larger designs, by `EXPECTED`, take synthesis too long."""
FIRST_TEST_SEED = 200
"""Whole designs of these seeds are not fitted to: they test the fit."""
LEAST_TIMED = 12
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
    Part.LOADER: (100.0, 60.0),
}
EXPECTED_NS = {"base": 4.0, "longest": 0.1, "multiplied": 0.1, "size": 0.5, "has_blocks": 0.5, "has_dsp": 0.5}
STRENGTH = 8.0
"""How much an expected coefficient weighs, against rows in which its part has the share that it has on average."""

Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class Row:
    """A real build: `case` is network:stage, or network alone for a whole design, which has a clock if it is routed."""

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

    @property
    def is_design(self) -> bool:
        return self.kind == "design"

    @property
    def is_test(self) -> bool:
        return self.is_design and seed_of(self.case) >= FIRST_TEST_SEED


def seed_of(network: str) -> int:
    """The number in a network's name."""
    return int(network.rpartition("-")[2])


@cache
def plan_of(network: str, block: DspBlock | None = None) -> Plan:
    """Return the plan of `layered-SEED`, `packed-SEED` (several products in each `block`) or `random-SEED`."""
    kind, seed = network.partition("-")[0], seed_of(network)
    if kind == "random":
        drawn = RandomNetwork.drawn(seed)
        graph = drawn.graph()
        options = replace(drawn.plan_options(graph), dsp_block=drawn.dsp_block and block)
        return size_queues(schedule(graph, options))
    layered = LayeredNetwork(seed)
    graph = layered.graph()
    options = layered.options()
    if kind == "packed":
        options = replace(options, dsp_block=block, dsp=4, layers=())
    return size_queues(schedule(graph, options))


def plan_on(network: str, board_name: str) -> Plan:
    """Return the plan at the board's clock."""
    board = find_board(board_name)
    return replace(plan_of(network, board.dsp_block), clock_hz=board.clock_hz)


def drawn_stages(network: str, plan: Plan) -> list[Stage]:
    """Some stages of a network: two with weights, one without, sometimes one that only moves beats."""
    seed = seed_of(network)
    stages = list(plan.stages)
    random.Random(seed).shuffle(stages)
    movers = [stage for stage in stages if stage.unit.kind in ("fork", "resize")]
    weighted = [stage for stage in stages if "matrix" in stage.unit.kind]
    others = [stage for stage in stages if stage not in movers and stage not in weighted]
    return weighted[:2] + others[:1] + movers[: seed % 3 == 0]


def build_unit(plan: Plan, stage: Stage, board: Board) -> Resources:
    """Synthesise and pack one unit with its queues; its ports are pins."""
    component = unit_component(stage.unit, tuple(plan.stream[name] for name in stage.outputs), plan.clock_hz)
    design = Bundle.of({"top.il": rtlil.convert(component, name="top", emit_src=False).encode()})
    return packed(design, board, FREE_PINS[board.family])


def build_design(plan: Plan, board: Board) -> Resources:
    """Synthesise and pack a whole design, host link included."""
    accelerator = Accelerator(plan)
    design = board_bundle(accelerator, plan_identity(plan, board.clock_hz), board)
    if accelerator.is_renewable and board.family is Family.ICE40:
        design = template(design)
    return packed(design, board, family_tools(board).constraints)


def packed(design: Bundle, board: Board, constraints: tuple[str, ...]) -> Resources:
    """Synthesise a design and let nextpnr pack it into cells: as many as after place and route."""
    tools = family_tools(board)
    inputs = design.merged(tools.files).merged(Bundle.of({"table.ys": tools.script(True).encode()}))
    with tempfile.TemporaryDirectory() as temporary:
        folder = inputs.write(Path(temporary) / "build")
        YOSYS.run(("-q", "-s", "table.ys"), folder, timeout_s=MOST_SECONDS)
        arguments = (*board.nextpnr_arguments, "--pack-only", "--json", "top.json", *constraints)
        outcome = tools.place_route.run(arguments, folder, check=False)
        cells = json.loads((folder / "stat.json").read_text())["design"]["num_cells_by_type"]
    least = tools.least(cells)
    used = {name: int(count) for name, count in _USED.findall(outcome.log)}
    if not used:
        raise tools.place_route.failure(outcome)
    return replace(tools.used(used, least), ff=least.ff)


def measure(family: Family, wanted: list[tuple[str, int]]) -> None:
    """Add the rows that the family's table lacks, one at a time; `wanted` are kinds of build with seeds."""
    for what, seed in wanted:
        for network in (f"layered-{seed}", f"random-{seed}", f"packed-{seed}"):
            rows = read_table(family)
            try:
                for row in _units(network, family, rows) if what == "units" else _design(network, family, rows, what):
                    rows = [*(old for old in rows if old.case != row.case), row]
                    write_table(family, rows)
                    print(row, flush=True)
            except ToolError as error:
                print(f"{network}: {str(error).splitlines()[0][:160]}", flush=True)


def _units(network: str, family: Family, rows: list[Row]) -> Iterator[Row]:
    board, done = find_board(BOARDS[family][0]), {row.case for row in rows}
    plan = plan_on(network, board.name)
    for stage in drawn_stages(network, plan):
        case = f"{network}:{stage.name}"
        if case not in done:
            used = build_unit(plan, stage, board)
            yield Row(case, stage.unit.kind, board.name, used.lut, used.ff, used.bram, used.dsp)


def _design(network: str, family: Family, rows: list[Row], what: str) -> Iterator[Row]:
    is_routed = what == "routed"
    if any(row.case == network and (row.fmax_mhz or not is_routed) for row in rows):
        return
    board = find_board(random.Random(network).choice(BOARDS[family]))
    plan = plan_on(network, board.name)
    if not is_wanted(network, plan, board):
        return
    if is_routed:
        built = build_plan(plan, board, must_meet_clock=False)
        used, fmax_mhz = built.used, built.fmax_mhz
    else:
        used, fmax_mhz = build_design(plan, board), 0.0
    yield Row(network, "design", board.name, used.lut, used.ff, used.bram, used.dsp, fmax_mhz)


def is_wanted(network: str, plan: Plan, board: Board) -> bool:
    """Whether a design is small enough, and packs something if it is there for that."""
    units = [stage.unit for stage in plan.stages if isinstance(stage.unit, MatrixVector)]
    if network.startswith("packed") and not any(unit.packing for unit in units):
        return False
    bill = cost.plan_bill(plan, board)
    luts = expectation(board.family, "lut") @ parts_of(bill)
    available = board.resources
    return bool(luts < MOST_LUT and bill.blocks <= available.bram and bill.dsp <= available.dsp)


def bill_of(row: Row) -> Bill:
    """Return the bill of what a row is of."""
    board, plan = find_board(row.board), plan_on(row.network, row.board)
    if not row.is_design:
        name = row.case.partition(":")[2]
        (stage,) = (stage for stage in plan.stages if stage.name == name)
        return cost.stage_bill(stage, plan.stream, board)
    return cost.plan_bill(plan, board)


def parts_of(bill: Bill) -> Matrix:
    """The counts of a bill's parts, by `PARTS`."""
    return np.array([bill.parts.get(part, 0.0) for part in PARTS])


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
                lut=int(line["lut"]),
                ff=int(line["ff"]),
                bram=int(line["bram"]),
                dsp=int(line["dsp"]),
                fmax_mhz=float(line["fmax_mhz"]),
            )
            for line in csv.DictReader(stream)
        ]


def write_table(family: Family, rows: list[Row]) -> None:
    """Write the rows."""
    TABLES.mkdir(exist_ok=True)
    with (TABLES / f"{family.value}.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(asdict(rows[0])), lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(row) for row in rows)


def fitted(features: Matrix, found: Matrix, expected: Matrix) -> Matrix:
    """Coefficients of at least 0 that make the sum of relative errors small: least squares, reweighted."""
    scale = 1 / (found + 20)
    weights = np.ones(len(found))
    result = expected
    shares = (scale[:, None] * features) ** 2
    spread = np.sqrt(shares.sum(0) / np.maximum((shares > 0).sum(0), 1)) + 1e-6
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
    """Fit the family's table but for the test designs, write the coefficients, print the errors."""
    rows = read_table(family)
    bills = [bill_of(row) for row in rows]
    features = np.array([parts_of(bill) for bill in bills])
    sets = _sets(rows)
    learned, groups = ~sets["test designs"], [row.network for row in rows if not row.is_test]
    lines, errors = [], {}
    for name in ("lut", "ff"):
        found = np.array([float(getattr(row, name)) for row in rows])
        expected = expectation(family, name)
        coefficients = fitted(features[learned], found[learned], expected)
        predicted = features @ coefficients
        predicted[learned] = held_out(features[learned], found[learned], expected, groups)
        errors[name] = np.abs(predicted / found - 1)
        lines += [
            f"[{name}]",
            *(f"{part.value} = {value:.4f}" for part, value in zip(PARTS, coefficients, strict=True)),
        ]
        for what, chosen in sets.items():
            if chosen.any():
                print(f"{family.value} {name} of {chosen.sum()} {what}: {summary(errors[name][chosen])}")
    _print_counts(family, rows, bills, sets)
    whole = errors["lut"][~sets["units"]]
    head = [
        f"# By `python benchmarks/resource_table.py fit {family.value}`, from the table beside this file.",
        f"lut_error_median = {np.median(whole):.4f}",
        f"lut_error_ninth = {np.quantile(whole, 0.9):.4f}",
    ]
    clock = fit_clock(family, [(r, b) for r, b in zip(rows, bills, strict=True) if r.fmax_mhz], lines)
    (TABLES / f"{family.value}.toml").write_text("\n".join([*head, *lines, *clock]) + "\n")


def _sets(rows: list[Row]) -> dict[str, NDArray[np.bool_]]:
    """Which rows are units and designs, both predicted by fits without their network, and which designs are tests."""
    is_design, is_test = (np.array([getattr(row, name) for row in rows]) for name in ("is_design", "is_test"))
    return {"units": ~is_design, "fitted designs": is_design & ~is_test, "test designs": is_test}


def _print_counts(family: Family, rows: list[Row], bills: list[Bill], sets: dict[str, NDArray[np.bool_]]) -> None:
    blocks = np.array([bill.blocks == row.bram for bill, row in zip(bills, rows, strict=True)])
    multipliers = np.array([bill.dsp == row.dsp for bill, row in zip(bills, rows, strict=True)])
    for what, chosen in sets.items():
        count = chosen.sum()
        print(f"{family.value} exact of {count} {what}: BRAM {blocks[chosen].sum()}, DSP {multipliers[chosen].sum()}")
    for number in np.flatnonzero(~(blocks & multipliers)):
        row, bill = rows[number], bills[number]
        found = f"BRAM {row.bram}, predicted {bill.blocks}; DSP {row.dsp}, predicted {bill.dsp}"
        print(f"  {row.case} {row.kind}: {found}")


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
    features = np.array([[one[name] for name in EXPECTED_NS] for one in found])
    periods = np.array([1000 / row.fmax_mhz for row, _ in built])
    expected = np.array(list(EXPECTED_NS.values()))
    error = np.abs(held_out(features, periods, expected, [row.network for row, _ in built]) / periods - 1)
    print(f"{family.value} Fmax of {len(built)} designs, held out: {summary(error)}")
    coefficients = fitted(features, periods, expected)
    return ["[period_ns]", *(f"{name} = {value:.4f}" for name, value in zip(EXPECTED_NS, coefficients, strict=True))]


def main() -> None:
    """Measure or fit one family."""
    parser = argparse.ArgumentParser(description="The table behind the resource model.")
    parser.add_argument("what", choices=("measure", "fit"))
    parser.add_argument("family", type=Family, help="ice40, ecp5 or gowin")
    for what in ("units", "designs", "routed"):
        parser.add_argument(f"--{what}", type=_range, action="append", default=[], metavar="FIRST:END", help="seeds")
    options = parser.parse_args()
    if options.what == "measure":
        kinds = (("units", options.units), ("designs", options.designs), ("routed", options.routed))
        measure(options.family, [(what, seed) for what, ranges in kinds for seeds in ranges for seed in seeds])
    else:
        fit(options.family)


def _range(text: str) -> range:
    first, _, end = text.partition(":")
    return range(int(first), int(end))


if __name__ == "__main__":
    main()
