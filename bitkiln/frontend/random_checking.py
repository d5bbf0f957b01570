"""`bitkiln verify --random N`: random networks through the RTL, failing ones as programs."""

from __future__ import annotations

import argparse
import time

from bitkiln.ir import fail

from .terminal import Terminal

MOST_NETWORKS = 1_000_000


def verify_random_command(arguments: argparse.Namespace, terminal: Terminal) -> bool:
    """Verify as many networks as asked for; write a program for each that fails. Return whether none does."""
    from bitkiln.hdl.random_verify import verify_random  # noqa: PLC0415

    networks: int = arguments.random
    if not 1 <= networks <= MOST_NETWORKS:
        raise fail("bad-value", f"--random must be between 1 and {MOST_NETWORKS}, not {networks}")
    if arguments.graph or arguments.data:
        raise fail("bad-value", "--random makes its own networks and images", hint="leave the graph and --data out")
    start = time.monotonic()
    with terminal.step("verify"):
        found = verify_random(
            networks, arguments.seed, lambda done: terminal.progress(f"{done} of {networks} networks", done / networks)
        )
    files: list[str] = []
    if found.failing:
        bundle = found.files()
        folder = bundle.write(arguments.output)
        files = [str(folder / name) for name in bundle.paths]
    plain = {
        "networks": found.networks,
        "bit_mismatches": found.bit_mismatches,
        "cycle_mismatches": found.cycle_mismatches,
        "failing": files,
        "seconds": round(time.monotonic() - start, 1),
    }
    lines = [
        f"{found.networks} random networks: {found.bit_mismatches} wrong beats, "
        f"{found.cycle_mismatches} in another cycle than predicted"
    ]
    lines += [f"{file}: {failing.findings}" for file, failing in zip(files, found.failing, strict=True)]
    terminal.result(plain, *lines)
    return not files
