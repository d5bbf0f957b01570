"""What compression saves on AlexNet's last three layers: Deep Compression's argument from counts and prices.

    python benchmarks/waterfall.py
    python benchmarks/waterfall.py -t 45nm  # with Horowitz's SRAM instead of that of EIE's Table I

Han et al., EIE, ISCA 2016, section VI-B, print 120 (SRAM instead of DRAM), 10 (zeros), 8 (shared weights), 3
(activations).
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bitkiln.sim.accelerator import find_accelerator
from bitkiln.sim.technologies import find_technology
from bitkiln.sim.topology import read_topology
from bitkiln.sim.waterfall import waterfall

NETWORK = Path(__file__).parents[1] / "examples" / "simulate" / "alexnet_fc.csv"
PRINTED = ("", "120", "10", "8", "3", "", "")
THEORY = 5
"""Steps of the printed argument; the others add what it leaves out."""


def main() -> None:
    """Print the steps."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-t", "--technology", default="45nm-eie", help="energy table")
    technology = find_technology(parser.parse_args().technology)
    steps = waterfall(read_topology(NETWORK).layers, find_accelerator("eie"), technology)
    table = Table("step", "uJ", "times less", "printed", "what", box=None)
    for step, printed in zip(steps, PRINTED, strict=True):
        table.add_row(step.name, f"{step.energy / 1e6:,.3f}", f"{step.factor:.2f}", printed, step.detail)
    console = Console(width=140)
    console.print(table)
    theory = math.prod(step.factor for step in steps[:THEORY])
    end = steps[0].energy / steps[-1].energy
    console.print(f"the first four steps: {theory:,.0f} times (printed 28,800); in the end: {end:,.0f} times")
    word, adder = 32 * technology.dram.pj_per_bit, technology.add_pj(32)
    console.print(f"32 bits of DRAM cost {word / adder:,.0f} additions of 32 bits (printed 6,400)")


if __name__ == "__main__":
    main()
