"""Trained networks on MNIST as hardware: accuracy, verification in RTL, and what the bitstream takes.

    python benchmarks/mnist_boards.py                          # all rows; some take many minutes to place and route
    python benchmarks/mnist_boards.py tfc-icebreaker mobile    # some
    python benchmarks/mnist_boards.py --train-only --work FOLDER

A row is a project file of examples/ on a board. Networks are trained once and kept in the work folder; bitstreams are
kept where `bitkiln build` keeps them. The accuracy is that of the integer graph on all 10,000 test images, the first
of which stream through the RTL twice, freely and under random back-pressure.
"""

from __future__ import annotations

import argparse
import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from bitkiln.boards import find_board
from bitkiln.frontend.datasets import Dataset, load_dataset
from bitkiln.frontend.import_model import import_reference
from bitkiln.frontend.project import Project, load_project, with_data_path
from bitkiln.hdl.build_plan import build_plan
from bitkiln.hdl.verification import VerifyOptions
from bitkiln.hdl.verify import verify_plan
from bitkiln.ir import Graph, Plan, load_graph, save_graph
from bitkiln.passes import Context, accuracy, run_passes
from bitkiln.passes.schedule import schedule
from bitkiln.sim.queues import size_queues

EXAMPLES = Path(__file__).parents[1] / "examples"
HEAD = (
    "| network, board | accuracy | wrong | interval / latency | multipliers | LUT | FF | BRAM | DSP | Fmax | images/s |"
)


@dataclass(frozen=True)
class Design:
    """A project file on a board, with another budget of multipliers than its own where that is given.

    Without a board there is no bitstream: `why` says the reason.
    """

    project: str
    board: str
    max_multipliers: int | None = None
    why: str = ""


DESIGNS = {
    "tfc": Design("binary/tfc.toml", "ulx3s-85f", 16),
    "tfc-icebreaker": Design("binary/tfc.toml", "icebreaker", 4),
    "sfc": Design("binary/sfc.toml", "ulx3s-85f", 16),
    "lenet-300-100": Design("mnist/lenet_300_100.toml", "ulx3s-85f"),
    "lenet-300-100-sparse": Design("hardware/lenet_300_100_sparse.toml", "ulx3s-85f"),
    "lenet5-8bit": Design("binary/lenet5_8bit.toml", "", 150, "its weights need 213 of 208 block RAMs"),
    "lenet5-4bit": Design("binary/lenet5_4bit.toml", "ulx3s-85f", 150),
    "lenet5-sparse": Design("hardware/lenet5_sparse.toml", "ulx3s-85f"),
    "residual": Design("hardware/residual.toml", "ulx3s-85f"),
    "residual-icebreaker": Design("hardware/residual.toml", "icebreaker", 8),
    "mobile": Design("hardware/mobile.toml", "ulx3s-85f"),
    "mobile-icebreaker": Design("hardware/mobile.toml", "icebreaker", 8),
}


def main() -> None:
    """Print a row a design, as soon as it is known."""
    parser = argparse.ArgumentParser(description="Trained networks on MNIST as hardware.")
    parser.add_argument("designs", nargs="*", metavar="DESIGN", help=f"of {', '.join(DESIGNS)} (default: all)")
    parser.add_argument("--data", help="folder of the four idx files (default: that of the project files)")
    parser.add_argument("--work", type=Path, default=Path("build/mnist_boards"), help="keeps the trained networks")
    parser.add_argument("--images", type=int, default=100, help="test images that stream through the RTL")
    parser.add_argument("--train-only", action="store_true", help="train what is not there yet, print accuracies")
    parser.add_argument("--no-build", action="store_true", help="no bitstreams")
    options = parser.parse_args()
    if unknown := [name for name in options.designs if name not in DESIGNS]:
        parser.error(f"unknown {', '.join(unknown)}; there are {', '.join(DESIGNS)}")
    torch.set_num_threads(1)
    if not options.train_only:
        print(HEAD + "\n|" + "---|" * HEAD.count(" | ") + "---|", flush=True)
    for name in options.designs or DESIGNS:
        design = DESIGNS[name]
        project, data = loaded(design, options.data)
        graph = trained(project, data, options.work)
        share = accuracy(graph, torch.from_numpy(data.test_x), torch.from_numpy(data.test_y))
        if options.train_only:
            print(f"{name}: {share:.2%}", flush=True)
        else:
            cells = measured(design, project, graph, torch.from_numpy(data.test_x), options.images, options.no_build)
            print("| " + " | ".join((name, f"{share:.2%}", *cells)) + " |", flush=True)


def loaded(design: Design, path: str | None) -> tuple[Project, Dataset]:
    """Return the project and its samples."""
    project = load_project(EXAMPLES / design.project)
    project = with_data_path(project, path) if path else project
    return project, load_dataset(project.data.relative_to(project.root))


def trained(project: Project, data: Dataset, work: Path) -> Graph:
    """Return the integer graph that the project's passes make; from the work folder if they made it before."""
    source = Path(project.reference.partition(":")[0]).read_bytes()
    weights = project.weights.read_bytes() if project.weights else b""
    identity = (repr((project.model, project.passes)).encode(), source, weights)
    file = work / f"{project.name}-{hashlib.sha256(b'|'.join(identity)).hexdigest()[:12]}.graph"
    if file.is_file():
        return load_graph(file)
    start = time.process_time()
    graph = import_reference(project.reference, project.model.input_shape, project.weights, project.name)
    x, y = torch.from_numpy(data.train_x), torch.from_numpy(data.train_y)
    graph = run_passes(graph, project.passes, Context(x[: project.data.calibration_samples], x, y, 0, graph))
    work.mkdir(parents=True, exist_ok=True)
    save_graph(graph, file)
    print(f"{file.name}: {time.process_time() - start:.0f} CPU s", flush=True)
    return graph


def folded(design: Design, project: Project, graph: Graph) -> Plan:
    """Return the plan for the design's board."""
    options = project.plan
    if design.max_multipliers:
        options = replace(options, max_multipliers=design.max_multipliers)
    if design.board:
        options = replace(options, clock_mhz=find_board(design.board).clock_hz / 1e6)
    return size_queues(schedule(graph, options))


def measured(
    design: Design, project: Project, graph: Graph, images: Tensor, count: int, is_built_never: bool
) -> Sequence[str]:
    """Return the cells of the row from the verification on."""
    plan = folded(design, project, graph)
    found = verify_plan(plan, images, VerifyOptions(images=count))
    cells = (
        f"{found.mismatches} bits, {found.cycle_mismatches} cycles of {count} images",
        f"{found.rtl_interval:,} / {found.rtl_latency:,}",
        str(plan.multipliers),
    )
    if not design.board or is_built_never:
        return (*cells, design.why or "not built")
    board = find_board(design.board)
    built = build_plan(plan, board)
    used = built.used
    rates = (board.clock_hz / found.rtl_interval, built.fmax_mhz * 1e6 / found.rtl_interval)
    speed = f"{rates[0]:,.0f} at {board.clock_hz / 1e6:g} MHz, {rates[1]:,.0f} at Fmax"
    numbers = (f"{used.lut:,}", f"{used.ff:,}", str(used.bram), str(used.dsp), f"{built.fmax_mhz:.1f} MHz", speed)
    return (*cells, *numbers)


if __name__ == "__main__":
    main()
