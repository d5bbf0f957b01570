"""What the resource model predicts of trained networks, which it was not fitted to, beside what they took.

    python benchmarks/trained_designs.py --work FOLDER

trained_designs.csv holds what `benchmarks/mnist_boards.py --work FOLDER` printed after place and route; FOLDER keeps
the networks that it trained. Nothing is built.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import numpy as np
from mnist_boards import DESIGNS, EXAMPLES, folded, graph_file

from bitkiln.boards import find_board
from bitkiln.boards.cost import Prediction, predict
from bitkiln.frontend.project import load_project
from bitkiln.ir import load_graph

COUNTS = ("lut", "ff", "bram", "dsp")


def predicted(name: str, work: Path) -> Prediction:
    """Return the prediction of one of `DESIGNS`."""
    design = DESIGNS[name]
    project = load_project(EXAMPLES / design.project)
    return predict(folded(design, project, load_graph(graph_file(project, work))), find_board(design.board))


def main() -> None:
    """Print a row a design: predicted / real, and the errors of all."""
    parser = argparse.ArgumentParser(description="Predicted beside real, of trained networks.")
    parser.add_argument("--work", type=Path, default=Path("build/mnist_boards"), help="keeps the trained networks")
    options = parser.parse_args()
    with Path(__file__).with_suffix(".csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    print("| design | LUT | FF | BRAM | DSP | Fmax, MHz |\n|---|---|---|---|---|---|")
    errors: dict[str, list[float]] = {name: [] for name in (*COUNTS, "fmax_mhz")}
    for row in rows:
        found = predicted(row["design"], options.work)
        pairs = {name: (float(getattr(found.used, name)), float(row[name])) for name in COUNTS}
        pairs["fmax_mhz"] = (found.fmax_mhz or 0.0, float(row["fmax_mhz"]))
        for name, (guess, real) in pairs.items():
            errors[name].append(abs(guess / real - 1) if real else float(guess != real))
        cells = [f"{guess:,g} / {real:,g}" for guess, real in pairs.values()]
        print("| " + " | ".join([row["design"], *cells]) + " |", flush=True)
    for name in ("lut", "ff", "fmax_mhz"):
        print(f"{name}: median {np.median(errors[name]):.1%}, worst {max(errors[name]):.1%}")
    for name in ("bram", "dsp"):
        print(f"{name}: {errors[name].count(0.0)} of {len(rows)} exact")


if __name__ == "__main__":
    main()
