"""Few bits on the real MNIST: the recipes of examples/binary, each with several seeds, as hardened integer graphs.

python benchmarks/binary_mnist.py tfc sfc lenet5_ternary --seeds 0 1 2 [--save FOLDER]

Each line compares the scores of all test images between the integer graph and the float graph that was trained,
computed in 64-bit floats: `same` counts the images whose classes have the same order of scores.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from bitkiln.frontend.datasets import load_dataset
from bitkiln.frontend.import_model import import_reference
from bitkiln.frontend.project import Project, load_project, with_data_path
from bitkiln.ir import Graph, encode_kiln, evaluate, fail
from bitkiln.passes import Context, Harden, Pass, Tune, accuracy, run_passes

RECIPES = Path(__file__).parents[1] / "examples" / "binary"
COLUMNS = "recipe           seed  float %  trained %  integer %          same  stored bytes  CPU s"


def main() -> None:
    """Run the recipes named on the command line and print one line for each seed."""
    parser = argparse.ArgumentParser(description="Train binary, ternary and fixed-point networks on MNIST.")
    parser.add_argument("recipes", nargs="+", choices=sorted(file.stem for file in RECIPES.glob("*.toml")))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--data", help="folder of the four idx files (default: that of the recipe)")
    parser.add_argument("--save", type=Path, help="folder for the containers of the integer graphs")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(COLUMNS)
    for recipe in options.recipes:
        project = load_project(RECIPES / f"{recipe}.toml")
        project = with_data_path(project, options.data) if options.data else project
        for seed in options.seeds:
            line, container = run(project, recipe, seed)
            print(line, flush=True)
            if options.save:
                options.save.mkdir(parents=True, exist_ok=True)
                (options.save / f"{recipe}_{seed}.kiln").write_bytes(container)


def run(project: Project, recipe: str, seed: int) -> tuple[str, bytes]:
    """Return a line of the table, and the container of the integer graph."""
    data = load_dataset(project.data.relative_to(project.root))
    train_x, train_y, test_x, test_y = map(torch.from_numpy, (data.train_x, data.train_y, data.test_x, data.test_y))
    start = time.process_time()
    graph = import_reference(seeded(project, seed), project.model.input_shape, project.weights, project.name)
    context = Context(train_x[: project.data.calibration_samples], train_x, train_y, seed, graph)
    steps: list[tuple[Pass, Graph]] = []
    passes = [replace(step, seed=seed) if isinstance(step, Tune) else step for step in project.passes]
    integers = run_passes(graph, passes, context, lambda step, result: steps.append((step, result)))
    seconds = time.process_time() - start
    trained = steps[-2][1] if isinstance(steps[-1][0], Harden) else integers
    accuracies = [100 * accuracy(each, test_x, test_y) for each in (graph, trained, integers)]
    same, container = equal_orders(trained, integers, test_x), encode_kiln(integers)
    shown = "  ".join(f"{value:9.2f}" for value in accuracies)
    counts = f"{same:5d}/{len(test_x)}  {len(container):12,d}  {seconds:5.0f}"
    return f"{recipe:15s}  {seed:4d}{shown}  {counts}", container


def seeded(project: Project, seed: int) -> str:
    """The model's reference; networks without trained weights start from those of the seed."""
    return project.reference if project.weights else f"{project.reference}({seed})"


def equal_orders(trained: Graph, integers: Graph, x: Tensor) -> int:
    """How many samples have all classes in the same order of scores in both graphs, equals in the same places."""
    if len(trained.inputs) != 1:
        raise fail("many-inputs", f"{trained.name} has several inputs")
    same = 0
    for batch in x.split(500):
        with torch.no_grad():
            orders = [ranks(evaluate(graph, batch.to(torch.float64))[0]) for graph in (trained, integers)]
        same += int((orders[0] == orders[1]).all(1).sum())
    return same


def ranks(scores: Tensor) -> Tensor:
    """For each score [N, classes] how many of the sample's scores exceed it, with 1e-9 of the greatest as equal."""
    margin = scores.abs().amax(1, keepdim=True)[..., None] * 1e-9
    return (scores[:, None, :] > scores[:, :, None] + margin).sum(2)


if __name__ == "__main__":
    main()
