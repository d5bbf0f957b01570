"""Parameters and multiply-accumulates of torchvision's networks against the numbers that torchvision publishes.

    python benchmarks/import_torchvision.py [--jobs 2] [NAME ...]

Each network is built without weights and imported in a fresh process; the table shows its time and peak memory.
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

from tests.frontend.torchvision_reference import Reference, read_references  # noqa: E402  # the path is set above


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


def in_process(reference: Reference) -> tuple[Reference, dict[str, object] | None, str]:
    """Run `measure` in a process of its own."""
    command = [sys.executable, __file__, "--worker", reference.name]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    if done.returncode != 0:
        return reference, None, done.stderr.strip().splitlines()[-1]
    return reference, json.loads(done.stdout), ""


def main() -> int:
    """Print the table; the exit code is 1 if a number differs."""
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*", help="networks, by default all")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    data = Path(os.environ.get("BITKILN_SHARED_DATA", ROOT.parent / "shared" / "data"))
    known = {reference.name: reference for reference in read_references(data)}
    if arguments.worker:
        print(json.dumps(measure(known[arguments.names[0]])))
        return 0
    chosen = [known[name] for name in arguments.names or known]
    wrong, start = 0, time.monotonic()
    print(f"{'network':28}{'params':>13}{'G MACs':>10}{'nodes':>7}{'CPU s':>7}{'MB':>6}  published")
    with ThreadPoolExecutor(arguments.jobs) as pool:
        for reference, found, error in pool.map(in_process, chosen):
            if found is None:
                wrong += 1
                print(f"{reference.name:28}{error}")
                continue
            is_equal = reference.agrees(int(str(found["params"])), int(str(found["macs"])))
            wrong += not is_equal
            print(
                f"{reference.name:28}{found['params']:>13,}{int(str(found['macs'])) / 1e9:>10.3f}{found['nodes']:>7}"
                f"{found['seconds']:>7.1f}{found['peak_mb']:>6.0f}  {'equal' if is_equal else 'DIFFERENT'}",
                flush=True,
            )
    print(f"{len(chosen) - wrong} of {len(chosen)} equal, {time.monotonic() - start:.0f} s")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
