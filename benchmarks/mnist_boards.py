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
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from bitkiln.boards import find_board
from bitkiln.frontend.datasets import Dataset, load_dataset
from bitkiln.frontend.import_model import import_reference
from bitkiln.frontend.project import Project, load_project, with_data_path
from bitkiln.hdl.build import BuildResult
from bitkiln.hdl.build_plan import build_plan
from bitkiln.hdl.verification import Verification, VerifyOptions
from bitkiln.hdl.verify import verify_plan
from bitkiln.ir import Graph, Plan, load_graph, save_graph
from bitkiln.passes import Context, accuracy, run_passes
from bitkiln.passes.schedule import LayerFolding, schedule
from bitkiln.sim.queues import size_queues

EXAMPLES = Path(__file__).parents[1] / "examples"
HEAD = (
    "| design | accuracy | wrong bits, cycles | interval / latency | multipliers | products a multiplier and cycle "
    "| LUT | FF | BRAM | DSP | Fmax | images/s |"
)


@dataclass(frozen=True)
class Design:
    """A project file on a board, with another budget of multipliers than its own where that is given.

    Without a board there is no bitstream: `why` says the reason. `is_dense` takes weights of 0 like all others.
    """

    project: str
    board: str
    max_multipliers: int | None = None
    why: str = ""
    is_dense: bool = False


@dataclass(frozen=True, eq=False)
class Measured:
    """What a design showed; without a bitstream `built` is None."""

    accuracy: float
    plan: Plan
    found: Verification
    built: BuildResult | None

    @property
    def images_a_second(self) -> float:
        """At the Fmax after place and route."""
        assert self.built is not None
        return self.built.fmax_mhz * 1e6 / self.found.rtl_interval

    @property
    def products(self) -> float:
        """Multiplications of the network by multiplier and cycle: 1 is the bound for units that skip none."""
        graph = self.plan.graph
        macs = sum(node.op.macs(*graph.arg_types(node)) for node in graph.nodes)
        return macs / max(1, self.plan.multipliers) / self.found.rtl_interval


DESIGNS = {
    "tfc": Design("binary/tfc.toml", "ulx3s-85f", 16),
    "tfc-icebreaker": Design("binary/tfc.toml", "icebreaker", 4),
    "sfc": Design("binary/sfc.toml", "ulx3s-85f", 16),
    "lenet-300-100-dense": Design("hardware/lenet_300_100_dense.toml", "ulx3s-85f"),
    "lenet-300-100-sparse": Design("hardware/lenet_300_100_sparse.toml", "ulx3s-85f"),
    "lenet-300-100-unskipped": Design("hardware/lenet_300_100_sparse.toml", "ulx3s-85f", 35, is_dense=True),
    "lenet5-8bit": Design("binary/lenet5_8bit.toml", "", 150, "none: its weights need 213 of 208 block RAMs"),
    "lenet5-4bit": Design("binary/lenet5_4bit.toml", "ulx3s-85f", 150),
    "lenet5-sparse": Design("hardware/lenet5_sparse.toml", "ulx3s-85f"),
    "residual": Design("hardware/residual.toml", "ulx3s-85f"),
    "residual-icebreaker": Design("hardware/residual.toml", "icebreaker", 8),
    "mobile": Design("hardware/mobile.toml", "ulx3s-85f", 64),
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
        print(HEAD + "\n|" + "---|" * (HEAD.count("|") - 1), flush=True)
    for name in options.designs or DESIGNS:
        design = DESIGNS[name]
        if options.train_only:
            project, data = loaded(design, options.data)
            share = accuracy(trained(project, data, options.work), *test_samples(data))
            print(f"{name}: {share:.2%}", flush=True)
        else:
            found = measured(design, options.data, options.work, options.images, not options.no_build)
            print(row(name, design, found), flush=True)


def loaded(design: Design, path: str | None) -> tuple[Project, Dataset]:
    """Return the project and its samples."""
    project = load_project(EXAMPLES / design.project)
    project = with_data_path(project, path) if path else project
    return project, load_dataset(project.data.relative_to(project.root))


def test_samples(data: Dataset) -> tuple[Tensor, Tensor]:
    """Return the test images and their labels."""
    return torch.from_numpy(data.test_x), torch.from_numpy(data.test_y)


def graph_file(project: Project, work: Path) -> Path:
    """Return where the integer graph that the project's passes make is kept."""
    source = Path(project.reference.partition(":")[0]).read_bytes()
    weights = project.weights.read_bytes() if project.weights else b""
    identity = (repr((project.model, project.passes)).encode(), source, weights)
    return work / f"{project.name}-{hashlib.sha256(b'|'.join(identity)).hexdigest()[:12]}.graph"


def trained(project: Project, data: Dataset, work: Path) -> Graph:
    """Return the integer graph that the project's passes make; from the work folder if they made it before."""
    file = graph_file(project, work)
    if file.is_file():
        return load_graph(file)
    start = time.process_time()
    graph = import_reference(project.reference, project.model.input_shape, project.weights, project.name)
    x, y = torch.from_numpy(data.train_x), torch.from_numpy(data.train_y)
    graph = run_passes(graph, project.passes, Context(x[: project.data.calibration_samples], x, y, 0, graph))
    work.mkdir(parents=True, exist_ok=True)
    save_graph(graph, file)
    print(f"{file.name}: {time.process_time() - start:.0f} CPU s", file=sys.stderr, flush=True)
    return graph


def folded(design: Design, project: Project, graph: Graph) -> Plan:
    """Return the plan for the design's board."""
    options = project.plan
    if design.max_multipliers:
        options = replace(options, max_multipliers=design.max_multipliers)
    if design.is_dense:
        options = replace(options, layers=(*options.layers, LayerFolding("fc*", sparse=False)))
    if design.board:
        options = replace(options, clock_mhz=find_board(design.board).clock_hz / 1e6)
    return size_queues(schedule(graph, options))


def measured(design: Design, path: str | None, work: Path, images: int, is_built: bool = True) -> Measured:
    """Train what is not there yet, verify so many images in RTL, build the bitstream."""
    project, data = loaded(design, path)
    graph = trained(project, data, work)
    plan = folded(design, project, graph)
    share = accuracy(graph, *test_samples(data))
    found = verify_plan(plan, test_samples(data)[0], VerifyOptions(images=images))
    print(f"{design.project}: {found}", file=sys.stderr, flush=True)
    built = build_plan(plan, find_board(design.board)) if is_built and design.board else None
    return Measured(share, plan, found, built)


def row(name: str, design: Design, measured: Measured) -> str:
    """Return the line of the table."""
    found, built = measured.found, measured.built
    cells = [
        name,
        f"{measured.accuracy:.2%}",
        f"{found.mismatches}, {found.cycle_mismatches} on {found.images} images",
        f"{found.rtl_interval:,} / {found.rtl_latency:,}",
        str(measured.plan.multipliers),
        f"{measured.products:.1%}" if measured.plan.multipliers else "-",
    ]
    if built:
        used, clock_hz = built.used, find_board(design.board).clock_hz
        cells += [f"{used.lut:,}", f"{used.ff:,}", str(used.bram), str(used.dsp), f"{built.fmax_mhz:.1f} MHz"]
        rate = f"{clock_hz / found.rtl_interval:,.0f} at {clock_hz / 1e6:g} MHz"
        cells.append(f"{rate}, {measured.images_a_second:,.0f} at Fmax")
    else:
        cells += [design.why or "not built", *["-"] * 5]
    return "| " + " | ".join(cells) + " |"


if __name__ == "__main__":
    main()
