"""`bitkiln verify --random N`: random networks through the RTL or the HLS C++, failing ones as programs."""

from __future__ import annotations

import argparse
import time
from functools import partial
from typing import TYPE_CHECKING

from bitkiln.ir import fail

from .hls_commands import hls_options
from .terminal import Terminal, table

if TYPE_CHECKING:  # the base install has no amaranth
    from bitkiln.hdl.random_verify import Check, RandomVerification

MOST_NETWORKS = 1_000_000
MOST_JOBS = 256
NETWORKS_A_JOB = 16
"""Networks for which another process pays: it needs some seconds to begin."""


def verify_random_command(arguments: argparse.Namespace, terminal: Terminal) -> bool:
    """Verify as many networks as asked for; write a program for each that fails. Return whether none does."""
    from bitkiln.hdl.random_verify import verify_random  # noqa: PLC0415
    from bitkiln.hdl.workers import available_cores  # noqa: PLC0415

    networks: int = arguments.random
    if not 1 <= networks <= MOST_NETWORKS:
        raise fail("bad-value", f"--random must be between 1 and {MOST_NETWORKS}, not {networks}")
    jobs = max(1, min(available_cores(), networks // NETWORKS_A_JOB)) if arguments.jobs is None else arguments.jobs
    if not 1 <= jobs <= MOST_JOBS:
        raise fail("bad-value", f"--jobs must be between 1 and {MOST_JOBS}, not {jobs}")
    if arguments.graph or arguments.data:
        raise fail("bad-value", "--random makes its own networks and images", hint="leave the graph and --data out")
    check, checker = _check(arguments)
    start = time.monotonic()
    with terminal.step("verify"):
        found = verify_random(
            networks,
            arguments.seed,
            jobs,
            lambda done: terminal.progress(f"{done} of {networks} networks", done / networks),
            check,
            checker,
        )
    return _result(found, time.monotonic() - start, jobs, arguments, terminal)


def _result(
    found: RandomVerification, seconds: float, jobs: int, arguments: argparse.Namespace, terminal: Terminal
) -> bool:
    """Print what was found, with a program for each failing network. Return whether there is none."""
    files: list[str] = []
    if found.failing:
        bundle = found.files()
        folder = bundle.write(arguments.output)
        files = [str(folder / name) for name in bundle.paths]
    unused = [name for name, count in found.coverage.items() if count == 0]
    plain = {
        "networks": found.networks,
        "bit_mismatches": found.bit_mismatches,
        "cycle_mismatches": found.cycle_mismatches,
        "failing": files,
        "coverage": dict(found.coverage),
        "simulated_cycles": found.cycles,
        "seconds": round(seconds, 1),
    }
    wrong = f"{found.bit_mismatches} wrong beats, {found.cycle_mismatches} in another cycle than predicted"
    if arguments.backend == "hls":  # C simulation has no cycles
        wrong = f"{found.bit_mismatches} wrong codes in C simulation"
    lines = [f"{file}: {failing.findings}" for file, failing in zip(files, found.failing, strict=True)]
    terminal.result(
        plain,
        table("in how many networks", ("used", "networks"), list(found.coverage.items())),
        f"{found.networks} random networks: {wrong}; {seconds:.1f} s with {jobs} "
        f"{'process' if jobs == 1 else 'processes'}",
        *lines,
        f"not used by any: {', '.join(unused)}" if unused else "everything that there is was used",
    )
    return not files


def _check(arguments: argparse.Namespace) -> tuple[Check, str]:
    """What checks a network, and its name."""
    from bitkiln.hdl.hls.verify import CHECKER, check_hls_network  # noqa: PLC0415
    from bitkiln.hdl.random_verify import RTL_CHECKER, check_network  # noqa: PLC0415

    if arguments.backend == "hls":
        return partial(check_hls_network, options=hls_options(arguments)), CHECKER
    return check_network, RTL_CHECKER
