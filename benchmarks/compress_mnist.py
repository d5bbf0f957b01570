"""Accuracy and stored bytes of the recipes in examples/compress, trained from scratch for each seed.

python benchmarks/compress_mnist.py lenet_300_100 --seeds 0 1 2
python benchmarks/compress_mnist.py lenet5 --seeds 0 1 2

Dense: 4 bytes for each parameter. Stored: the size of the .kiln file; the accuracy is that of the graph read back from
it. The loss is against the float network of the same seed, the state before the first pass that compresses. Passes that
recipes have in common are run once; their seconds are counted for each.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from bitkiln.frontend.checkpoints import FileCheckpoints
from bitkiln.frontend.datasets import load_dataset
from bitkiln.frontend.model_reference import load_model
from bitkiln.frontend.project import Project, load_project, with_data_path
from bitkiln.frontend.torch_import import import_module
from bitkiln.ir import Graph, decode_kiln, encode_kiln
from bitkiln.passes import Context, Pass, Tune, accuracy, run_passes

RECIPES = Path(__file__).parents[1] / "examples" / "compress"
GOALS = {
    "lenet_300_100": (("lenet_300_100_65x.toml", 65.0, 0.1), ("lenet_300_100_105x.toml", 105.0, 0.4)),
    "lenet5": (("lenet5_42x.toml", 42.0, 0.0), ("lenet5_110x.toml", 110.0, 0.1)),
}
HEAD = "| recipe | seed | float | compressed | loss, points | dense bytes | stored bytes | ratio | goal | CPU s |"


@dataclass(frozen=True, eq=False)
class Result:
    """What a chain of passes gave, and the CPU seconds that it took from the start."""

    graph: Graph
    float_graph: Graph
    seconds: float


@dataclass(frozen=True, eq=False)
class Bench:
    """The samples of one project file, and the states of chains that were run."""

    train: tuple[Tensor, Tensor]
    test: tuple[Tensor, Tensor]
    seed: int
    work: Path | None
    done: dict[tuple[Pass, ...], Result]

    def run(self, project: Project) -> Result:
        """Run the project's passes on its network with fresh weights."""
        if () not in self.done:
            torch.manual_seed(self.seed)
            graph = import_module(load_model(project.reference).eval(), project.model.input_shape, project.name)
            self.done[()] = Result(graph, graph, 0.0)
        return self._run(project.passes)

    def _run(self, passes: tuple[Pass, ...]) -> Result:
        if passes in self.done:
            return self.done[passes]
        before = self._run(passes[:-1])
        start = time.process_time()
        x, y = self.train
        context = Context(x[:64], x, y, self.seed, before.graph)
        if self.work is not None:
            context = Context(x[:64], x, y, self.seed, before.graph, checkpoints=FileCheckpoints(self.work / "seeds"))
        graph = run_passes(before.graph, passes[-1:], context)
        is_float = all(isinstance(step, Tune) for step in passes)
        seconds = before.seconds + time.process_time() - start
        self.done[passes] = Result(graph, graph if is_float else before.float_graph, seconds)
        print(f"seed {self.seed}: {passes[-1].name}, {seconds:.0f} CPU s", file=sys.stderr)
        return self.done[passes]


def row(file: str, ratio_goal: float, loss_goal: float, bench: Bench, project: Project) -> str:
    """Run one recipe and return its line of the table."""
    result = bench.run(project)
    stored = encode_kiln(result.graph)
    before, after = accuracy(result.float_graph, *bench.test), accuracy(decode_kiln(stored, file), *bench.test)
    loss = round(100 * (before - after), 4)
    dense = 4 * result.float_graph.params
    ratio = dense / len(stored)
    met = "met" if ratio >= ratio_goal and loss <= loss_goal else "missed"
    goal = f">= {ratio_goal:g}x at <= {loss_goal:g}: {met}"
    cells = (file, bench.seed, f"{before:.2%}", f"{after:.2%}", f"{loss:+.2f}", f"{dense:,}", f"{len(stored):,}")
    return "| " + " | ".join(map(str, (*cells, f"{ratio:.1f}x", goal, f"{result.seconds:.0f}"))) + " |"


def projects(network: str, data: str | None) -> Mapping[str, Project]:
    """The project files of a network's goals, by name."""
    found = {file: load_project(RECIPES / file) for file, _, _ in GOALS[network]}
    return {file: with_data_path(project, data) for file, project in found.items()} if data else found


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table, a line as soon as it is known."""
    parser = argparse.ArgumentParser(description="Accuracy and stored bytes of the recipes in examples/compress.")
    parser.add_argument("network", choices=sorted(GOALS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--data", help="folder of the four idx files (default: that of the project files)")
    parser.add_argument("--work", type=Path, help="keep training states here: a killed run goes on, with less CPU time")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    found = projects(options.network, options.data)
    first = next(iter(found.values()))
    data = load_dataset(first.data.relative_to(first.root))
    train = (torch.from_numpy(data.train_x), torch.from_numpy(data.train_y))
    test = (torch.from_numpy(data.test_x), torch.from_numpy(data.test_y))
    print(HEAD + "\n|" + "---|" * 10, flush=True)
    for seed in options.seeds:
        bench = Bench(train, test, seed, options.work, {})
        for file, ratio, loss in GOALS[options.network]:
            print(row(file, ratio, loss, bench, found[file]), flush=True)


if __name__ == "__main__":
    main()
