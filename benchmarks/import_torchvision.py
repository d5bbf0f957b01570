"""torchvision's networks: parameters and multiply-accumulates against the published numbers, outputs against PyTorch.

    python benchmarks/import_torchvision.py [--jobs 2] [--outputs] [NAME ...]

Each network is imported in a fresh process. For the counts it is built without weights, and the table shows CPU time
and peak memory; for the outputs (of 35 networks) it has random weights and statistics, and a batch of two images.
Needs torchvision 0.28 and ../shared/data/published/torchvision_reference.csv (or $BITKILN_SHARED_DATA).
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402  # the path is set above

from tests.frontend.torchvision_reference import (  # noqa: E402
    SMALL_SIZES,
    Reference,
    random_network,
    read_references,
)

TOLERANCE = 1e-5
COUNTS_HEADING = f"{'params':>13}{'G MACs':>10}{'nodes':>7}{'CPU s':>7}{'MB':>6}  published"


def measure(reference: Reference) -> dict[str, object]:
    """Import one network and return what was found."""
    from bitkiln.frontend.layer_table import shape_table  # noqa: PLC0415  # only the worker needs torch
    from bitkiln.frontend.torchvision_shim import SkipInitialisation, torchvision_model  # noqa: PLC0415

    warnings.simplefilter("ignore")
    start = time.process_time()
    with SkipInitialisation():
        module = torchvision_model(reference.name, **dict(reference.arguments))
    table = shape_table(module, reference.input_shape, reference.name)
    return {
        "params": table.params,
        "macs": table.macs,
        "nodes": len(table.nodes),
        "seconds": time.process_time() - start,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def compare(name: str) -> dict[str, object]:
    """Import a network with random weights; return the largest difference to eager PyTorch, relative to the output."""
    from bitkiln.frontend.torch_import import import_module  # noqa: PLC0415  # only the worker needs torch
    from bitkiln.ir import evaluate  # noqa: PLC0415
    from tests.frontend.micro_models import outputs, relative_error  # noqa: PLC0415

    warnings.simplefilter("ignore")
    torch.manual_seed(0)
    module, size = random_network(name), SMALL_SIZES[name]
    graph = import_module(module, (1, 3, size, size), name)
    x = torch.randn(2, 3, size, size)
    with torch.no_grad():
        pairs = zip(evaluate(graph, x), outputs(module, x), strict=True)
        return {"error": max(relative_error(found, wanted) for found, wanted in pairs), "nodes": len(graph.nodes)}


def in_process(mode: str, name: str) -> tuple[str, dict[str, object] | None, str]:
    """Run this file for one network in a process of its own."""
    command = [sys.executable, __file__, mode, name]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode != 0:
        return name, None, (done.stderr.strip().splitlines() or ["no message"])[-1]
    return name, json.loads(done.stdout), ""


def counts_line(reference: Reference, found: dict[str, object]) -> tuple[str, bool]:
    """The network's line of the table, and whether its counts are those published."""
    params, macs = int(str(found["params"])), int(str(found["macs"]))
    is_equal = reference.agrees(params, macs)
    measured = f"{found['nodes']:>7}{found['seconds']:>7.1f}{found['peak_mb']:>6.0f}"
    return f"{params:>13,}{macs / 1e9:>10.3f}{measured}  {'equal' if is_equal else 'DIFFERENT'}", is_equal


def main() -> int:
    """Print the table; the exit code is 1 if a number differs."""
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*", help="networks, by default all")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--outputs", action="store_true", help="compare outputs instead of counts")
    parser.add_argument("--count", help=argparse.SUPPRESS)
    parser.add_argument("--compare", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    data = Path(os.environ.get("BITKILN_SHARED_DATA", ROOT.parent / "shared" / "data"))
    known = {reference.name: reference for reference in read_references(data)}
    if arguments.count or arguments.compare:
        print(json.dumps(measure(known[arguments.count]) if arguments.count else compare(arguments.compare)))
        return 0
    names = arguments.names or list(SMALL_SIZES if arguments.outputs else known)
    mode = "--compare" if arguments.outputs else "--count"
    wrong, start = 0, time.monotonic()
    heading = f"{'error':>10}{'nodes':>7}" if arguments.outputs else COUNTS_HEADING
    print(f"{'network':30}{heading}")
    with ThreadPoolExecutor(arguments.jobs) as pool:
        for name, found, error in pool.map(lambda name: in_process(mode, name), names):
            if found is None:
                line, is_equal = error, False
            elif arguments.outputs:
                line, is_equal = f"{found['error']:>10.1e}{found['nodes']:>7}", float(str(found["error"])) < TOLERANCE
            else:
                line, is_equal = counts_line(known[name], found)
            wrong += not is_equal
            print(f"{name:30}{line}", flush=True)
    print(f"{len(names) - wrong} of {len(names)} equal, {time.monotonic() - start:.0f} s")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
