"""Independent pieces of work in copies of this Python process.

With `hdl/toolchain.py`, which starts other programs, all that starts processes.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")


def available_cores() -> int:
    """Return how many processes can really work at the same time."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def ordered_results(work: Callable[[Item], Result], items: Sequence[Item], jobs: int) -> Iterator[Result]:
    """Yield `work(item)` for all items in their order; `jobs` processes work on them, or this one alone.

    `work` is a function of a module's top level, items and results can be pickled. What `work` raises is raised here.
    """
    if jobs <= 1:
        yield from map(work, items)
        return
    # Not forked: PyTorch's threads do not survive that.
    context = multiprocessing.get_context("spawn")
    executor = ProcessPoolExecutor(min(jobs, len(items)), context, torch.set_num_threads, (1,))
    try:
        yield from executor.map(work, items)
    finally:
        executor.shutdown(cancel_futures=True)
