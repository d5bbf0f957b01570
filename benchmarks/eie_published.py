"""EIE's nine layers (Han et al., ISCA 2016, Tables III and IV) against the engine, on masks drawn at printed densities.

    python benchmarks/eie_published.py            # seed 1
    python benchmarks/eie_published.py --seeds 8  # the least and the greatest of eight

Nothing is fitted. Theoretical time is entries (fillers included) over elements; actual time adds the imbalance of the
elements and the pipeline. Densities are printed with two digits, and masks of real layers are not uniform: the authors'
VGG-6 and Alex-8 are denser than they print. All weights, inputs and results stay on the chip, as in the paper.
"""

from __future__ import annotations

import argparse
import csv
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bitkiln.sim._tiles import Residence
from bitkiln.sim.accelerator import find_accelerator
from bitkiln.sim.eie import eie
from bitkiln.sim.energy import counts_energy
from bitkiln.sim.technologies import find_technology
from bitkiln.sim.workload import Layer, LayerKind

PUBLISHED = Path(__file__).parent / "published" / "eie_layers.csv"
PUBLISHED_WATTS = 0.59  # of the chip on AlexNet's layers: section VI
STAYS = Residence(has_input=True, has_output=True, has_weights=True)


@dataclass(frozen=True)
class Published:
    """One layer as printed."""

    layer: Layer
    theoretical_us: float
    actual_us: float


@dataclass(frozen=True)
class Found:
    """The same by the engine; `seconds` of CPU time is what the simulation took."""

    theoretical_us: float
    actual_us: float
    utilisation: float
    energy_uj: float
    seconds: float

    @property
    def watts(self) -> float:
        return self.energy_uj / self.actual_us


def published() -> Iterator[Published]:
    """Read the printed layers."""
    with PUBLISHED.open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            layer = Layer(
                row["layer"],
                LayerKind.MATRIX,
                1,
                1,
                int(row["inputs"]),
                int(row["outputs"]),
                given_weight_density=float(row["weight_density"]),
                given_activation_density=float(row["act_density"]),
            )
            yield Published(layer, float(row["published_theoretical_us"]), float(row["published_actual_us"]))


def simulated(layer: Layer, seed: int, technology: str = "45nm") -> Found:
    """Return one layer on the shipped description of EIE, priced by a table."""
    chip = find_accelerator("eie")
    assert chip.eie is not None
    start = time.process_time()
    run = eie(layer, chip.eie, chip, STAYS, seed)
    seconds = time.process_time() - start
    energy_pj = counts_energy(run.counts, find_technology(technology)).total_pj
    cycle_us = 1e6 / chip.clock_hz
    return Found(
        run.compute_cycles * cycle_us, run.cycles * cycle_us, run.compute_cycles / run.cycles, energy_pj / 1e6, seconds
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=1, help="draw masks with the seeds 1 to this")
    parser.add_argument("-t", "--technology", default="45nm", help="energy table (default: 45nm)")
    arguments = parser.parse_args()
    seeds = range(1, arguments.seeds + 1)
    names = ("layer", "theory us", "printed", "error", "actual us", "printed", "error", "busy", "uJ", "W", "CPU s")
    table = Table(*names, box=None)
    for item in published():
        found = [simulated(item.layer, seed, arguments.technology) for seed in seeds]
        theory, actual = [run.theoretical_us for run in found], [run.actual_us for run in found]
        table.add_row(
            item.layer.name,
            _span(theory, 1, ".2f"),
            f"{item.theoretical_us:.1f}",
            _span(theory, item.theoretical_us, "+.1%"),
            _span(actual, 1, ".2f"),
            f"{item.actual_us:.1f}",
            _span(actual, item.actual_us, "+.1%"),
            f"{found[0].utilisation:.1%}",
            f"{found[0].energy_uj:.2f}",
            f"{found[0].watts:.2f}",
            f"{found[0].seconds:.2f}",
        )
    console = Console(width=140)
    console.print(table)
    console.print(
        f"printed power of the chip: {PUBLISHED_WATTS} W; energy by the table 45nm, without the clock network"
    )


def _span(values: list[float], unit: float, form: str) -> str:
    """Least and greatest, relative to the printed value where the form has a sign."""
    shown = [value / unit - (form[0] == "+") for value in (min(values), max(values))]
    texts = [format(value, form) for value in shown]
    return texts[0] if texts[0] == texts[1] else " .. ".join(texts)


if __name__ == "__main__":
    main()
