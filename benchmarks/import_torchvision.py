"""torchvision's networks: parameters and multiply-accumulates against the published numbers, outputs against PyTorch.

    python benchmarks/import_torchvision.py [--jobs 2] [--outputs] [NAME ...]

Each network is imported in a process of its own, forked when torch and torchvision are loaded. For the counts it is
built without weights, and the table shows CPU time and peak memory; for the outputs (of 35 networks) it has random
weights and statistics, and a batch of two images.
Needs torchvision 0.28 and ../shared/data/published/torchvision_reference.csv (or $BITKILN_SHARED_DATA).
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
import sys
import time
import warnings
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402  # the path is set above

from bitkiln.frontend.layer_table import shape_table  # noqa: E402
from bitkiln.frontend.torch_import import import_module  # noqa: E402
from bitkiln.frontend.torchvision_shim import SkipInitialisation, import_torchvision, torchvision_model  # noqa: E402
from bitkiln.ir import evaluate  # noqa: E402
from tests.frontend.micro_models import outputs, relative_error  # noqa: E402
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
    torch.manual_seed(0)
    module, size = random_network(name), SMALL_SIZES[name]
    graph = import_module(module, (1, 3, size, size), name)
    x = torch.randn(2, 3, size, size)
    with torch.no_grad():
        pairs = zip(evaluate(graph, x), outputs(module, x), strict=True)
        return {"error": max(relative_error(found, wanted) for found, wanted in pairs), "nodes": len(graph.nodes)}


def in_process(task: Reference | str) -> tuple[str, dict[str, object] | None, str]:
    """Do one network's task, in a process that ends with it."""
    name = task if isinstance(task, str) else task.name
    torch.set_num_threads(1)
    try:
        return name, compare(task) if isinstance(task, str) else measure(task), ""
    except Exception as error:  # noqa: BLE001  # whatever goes wrong with a network is its line of the table
        return name, None, f"{type(error).__name__}: {error}".splitlines()[0][:200]


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
    arguments = parser.parse_args()
    data = Path(os.environ.get("BITKILN_SHARED_DATA", ROOT.parent / "shared" / "data"))
    known = {reference.name: reference for reference in read_references(data)}
    names = arguments.names or list(SMALL_SIZES if arguments.outputs else known)
    tasks = [name if arguments.outputs else known[name] for name in names]
    wrong, start = 0, time.monotonic()
    warnings.simplefilter("ignore")
    import_torchvision()
    heading = f"{'error':>10}{'nodes':>7}" if arguments.outputs else COUNTS_HEADING
    print(f"{'network':30}{heading}")
    with multiprocessing.get_context("fork").Pool(arguments.jobs, maxtasksperchild=1) as pool:
        for name, found, error in pool.imap(in_process, tasks, chunksize=1):
            if found is None:
                line, is_equal = error, False
            elif arguments.outputs:
                line, is_equal = f"{found['error']:>10.1e}{found['nodes']:>7}", float(str(found["error"])) < TOLERANCE
            else:
                line, is_equal = counts_line(known[name], found)
            wrong += not is_equal
            print(f"{name:30}{line}", flush=True)
    used = sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    print(
        f"{len(names) - wrong} of {len(names)} equal, {time.monotonic() - start:.0f} s, {used:.0f} s of the processors"
    )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
