"""SCALE-Sim 3.0.0 and bitkiln on the same AlexNet, the same 32x32 array: cycles of every layer and CPU seconds, paired.

    python3 -m venv /tmp/peer && /tmp/peer/bin/pip install scalesim==3.0.0 "numpy<2.4"
    python benchmarks/scalesim_peer.py --peer /tmp/peer/bin/python                      # all dataflows, some minutes
    python benchmarks/scalesim_peer.py --peer /tmp/peer/bin/python --dataflow ws --layers 1

SCALE-Sim runs in its stall-free mode and writes no traces; it reports one cycle less a layer than it simulates
(scalesim-project/SCALE-Sim#125). Both times are CPU seconds of a process that has the library loaded: for SCALE-Sim the
whole process less one that only imports it, for bitkiln the mean of a hundred simulations, energy and memory included.
"""

from __future__ import annotations

import argparse
import csv
import resource
import subprocess
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bitkiln.sim.accelerator import Dataflow, find_accelerator
from bitkiln.sim.simulate import Simulation, simulate
from bitkiln.sim.technologies import find_technology
from bitkiln.sim.topology import parse_topology

TOPOLOGY = """Layer name, IFMAP Height, IFMAP Width, Filter Height, Filter Width, Channels, Num Filter, Strides,
Conv1, 224, 224, 11, 11, 3, 96, 4,
Conv2, 27, 27, 5, 5, 96, 256, 1,
Conv3, 13, 13, 3, 3, 256, 384, 1,
Conv4, 13, 13, 3, 3, 384, 384, 1,
Conv5, 13, 13, 3, 3, 384, 256, 1,
"""

CONFIGURATION = """[general]
run_name = run
[architecture_presets]
ArrayHeight: 32
ArrayWidth: 32
IfmapSramSzkB: 64
FilterSramSzkB: 64
OfmapSramSzkB: 64
IfmapOffset: 0
FilterOffset: 10000000
OfmapOffset: 20000000
Dataflow: {dataflow}
Bandwidth: 10
MemoryBanks: 1
ReadRequestBuffer: 32
WriteRequestBuffer: 32
[layout]
IfmapCustomLayout: False
IfmapSRAMBankBandwidth: 10
IfmapSRAMBankNum: 10
IfmapSRAMBankPort: 2
FilterCustomLayout: False
FilterSRAMBankBandwidth: 10
FilterSRAMBankNum: 10
FilterSRAMBankPort: 2
[sparsity]
SparsitySupport: false
SparseRep: ellpack_block
OptimizedMapping: false
BlockSize: 8
RandomNumberGeneratorSeed: 40
[run_presets]
InterfaceBandwidth: CALC
UseRamulatorTrace: False
"""

REPETITIONS = 100


def cpu_seconds(command: list[str]) -> float:
    """Run `command` and return the CPU seconds it took, its own and the system's."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def run_peer(python: str, dataflow: Dataflow, topology: str) -> tuple[list[int], float]:
    """Cycles that SCALE-Sim reports for each layer, and the CPU seconds it took for them."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "net.csv").write_text(topology)
        (folder / "run.cfg").write_text(CONFIGURATION.format(dataflow=dataflow.value))
        files = ["-c", str(folder / "run.cfg"), "-t", str(folder / "net.csv"), "-l", str(folder / "net.csv")]
        options = ["-i", "conv", "-p", str(folder), "-s", "N"]
        loading = cpu_seconds([python, "-c", "import scalesim.scale"])
        seconds = cpu_seconds([python, "-m", "scalesim.scale", *files, *options]) - loading
        with (folder / "run" / "COMPUTE_REPORT.csv").open() as file:
            rows = list(csv.DictReader(file, skipinitialspace=True))
    return [int(float(row["Total Cycles"])) for row in rows], seconds


def run_here(dataflow: Dataflow, topology: str) -> tuple[Simulation, float]:
    """The simulation, and the mean CPU seconds of one, reading the topology included."""
    accelerator, technology = find_accelerator("systolic-32").with_dataflow(dataflow), find_technology("45nm")
    start = time.process_time()
    for _ in range(REPETITIONS):
        found = simulate(parse_topology(topology, "alexnet.csv"), accelerator, technology)
    return found, (time.process_time() - start) / REPETITIONS


def main() -> None:
    """Print a line a dataflow and layer."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", required=True, help="Python of the environment with scalesim")
    parser.add_argument("--dataflow", choices=[flow.value for flow in Dataflow], help="only this one")
    parser.add_argument("--layers", type=int, default=5, help="only the first ones")
    arguments = parser.parse_args()
    topology = "\n".join(TOPOLOGY.splitlines()[: 1 + arguments.layers]) + "\n"
    table = Table("dataflow", "layer", "SCALE-Sim + 1", "bitkiln", "SCALE-Sim CPU s", "bitkiln CPU s", "ratio")
    for dataflow in Dataflow:
        if arguments.dataflow in (None, dataflow.value):
            reported, peer_seconds = run_peer(arguments.peer, dataflow, topology)
            found, seconds = run_here(dataflow, topology)
            assert [cycles + 1 for cycles in reported] == [run.compute_cycles for run in found.runs]
            for cycles, run in zip(reported, found.runs, strict=True):
                table.add_row(dataflow.value, run.layer.name, f"{cycles + 1:,}", f"{run.compute_cycles:,}")
            total = sum(reported) + len(reported)
            times = f"{peer_seconds:.1f}", f"{seconds:.4f}", f"{peer_seconds / seconds:,.0f}x"
            table.add_row(dataflow.value, "total", f"{total:,}", f"{found.compute_cycles:,}", *times)
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
