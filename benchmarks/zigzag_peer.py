"""ZigZag 3.9.1 and bitkiln on ResNet-18 and a 32x32 dot-product array like ZigZag's `tpu_like`: cycles and CPU seconds.

    python3 -m venv /tmp/zigzag && /tmp/zigzag/bin/pip install zigzag-dse==3.9.1 six
    python benchmarks/zigzag_peer.py --peer /tmp/zigzag/bin/python   # a minute or two

ZigZag chooses mappings for the least latency (LOMA, six loop factors), bitkiln tiles for the fewest cycles. The two
hierarchies are alike, not equal: ZigZag keeps 128 bytes of weights in every multiplier, bitkiln as much in one buffer.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import tempfile
import time
from dataclasses import replace

import torch
from rich.console import Console
from rich.table import Table
from simulator_speed import shapes

from bitkiln.frontend.torchvision_shim import import_torchvision
from bitkiln.sim.accelerator import Accelerator, Dram, Operand, Sram, Vector, find_accelerator
from bitkiln.sim.simulate import simulate
from bitkiln.sim.technologies import find_technology
from bitkiln.sim.tiling import Objective

PEER = """
import json, sys
from importlib import resources
from zigzag.api import get_hardware_performance_zigzag
inputs = resources.files("zigzag") / "inputs"
energy, latency, _ = get_hardware_performance_zigzag(
    str(inputs / "workload" / "resnet18.onnx"),
    str(inputs / "hardware" / "tpu_like.yaml"),
    str(inputs / "mapping" / "tpu_like.yaml"),
    opt="latency", dump_folder=sys.argv[1], lpf_limit=6, loma_show_progress_bar=False,
)
print(json.dumps({"energy": energy, "latency": latency}))
"""


def accelerator() -> Accelerator:
    """Return ZigZag's tpu_like.yaml as far as it can be said here: 8 bytes of DRAM a cycle, 2 MB, 1024 x 128 bytes."""
    buffer = Sram((Operand.ACTIVATIONS, Operand.OUTPUTS), 2 << 20, 2048, ports=2, is_double_buffered=False)
    weights = Sram((Operand.WEIGHTS,), 1024 * 128, 8192, ports=2)
    dram = Dram(8e9, burst_bytes=8, row_bytes=1 << 20, row_miss_ns=0.0, row_hit_ns=0.0, latency_ns=1.0)
    like = replace(find_accelerator("tpu-like"), name="zigzag-like", clock_hz=1e9, vector=Vector(32, 32), dram=dram)
    numbers = replace(like.numbers, accumulator_bits=16)
    overlapping = replace(buffer, capacity_bytes=4 << 20, is_double_buffered=True)  # each half as large as ZigZag's
    return replace(like, numbers=numbers, sram=(overlapping, weights))


def run_peer(python: str) -> tuple[float, float]:
    """Cycles, and CPU seconds without those of loading the library."""

    def cpu(command: list[str]) -> tuple[str, float]:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return done.stdout, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    _, loading = cpu([python, "-c", "from zigzag.api import get_hardware_performance_zigzag"])
    with tempfile.TemporaryDirectory() as folder:
        text, seconds = cpu([python, "-c", PEER, folder])
    return float(json.loads(text.splitlines()[-1])["latency"]), seconds - loading


def main() -> None:
    """Print both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", required=True, help="Python of the environment with zigzag-dse")
    arguments = parser.parse_args()
    import_torchvision()
    import torchvision  # noqa: PLC0415  # an extra

    with torch.device("meta"):
        workload = shapes("resnet18", torchvision.models.resnet18(), torch.empty(1, 3, 224, 224))
    start = time.process_time()
    for _ in range(10):
        found = simulate(workload, accelerator(), find_technology("45nm"), Objective.CYCLES, can_stay=False)
    seconds = (time.process_time() - start) / 10
    cycles, peer_seconds = run_peer(arguments.peer)
    table = Table("", "cycles", "CPU s")
    table.add_row("ZigZag 3.9.1", f"{cycles:,.0f}", f"{peer_seconds:.1f}")
    table.add_row("bitkiln", f"{found.cycles:,}", f"{seconds:.4f}")
    table.add_row("", f"{found.cycles / cycles - 1:+.1%}", f"{peer_seconds / seconds:,.0f}x")
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
