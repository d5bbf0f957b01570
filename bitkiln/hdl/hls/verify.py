"""Does the HLS C++ compute what the golden model says? Every code is compared."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor

from bitkiln.hdl.golden_codes import drawn_samples, golden_codes, too_few
from bitkiln.hdl.random_coverage import features
from bitkiln.hdl.random_network import RandomNetwork
from bitkiln.hdl.random_plan import random_plan
from bitkiln.hdl.random_verify import IMAGES, Finding
from bitkiln.ir import Plan

from .dialect import Dialect
from .project import DEFAULT_OPTIONS, FLAGS, HlsOptions
from .simulation import HlsSimulation

SHOWN = 5
QUICK_COMPILE = ("-O0",)
"""For the few small images of a random network."""
CHECKER = "bitkiln.hdl.hls.verify.check_hls_network"


@dataclass(frozen=True)
class HlsVerification:
    """The C simulation against the golden model: how many of `codes` results differ, and the first of them."""

    images: int
    codes: int
    mismatches: int
    dialect: Dialect
    ap_types: str
    findings: str

    @property
    def is_exact(self) -> bool:
        return self.mismatches == 0


def verify_hls(
    plan: Plan,
    samples: Tensor,
    images: int,
    options: HlsOptions = DEFAULT_OPTIONS,
    *,
    cache_folder: Path | None = None,
    cxx_flags: tuple[str, ...] = FLAGS,
    on_step: Callable[[str], None] = lambda step: None,
) -> HlsVerification:
    """Run the first `images` of `samples` (what the plan's graph takes) through the C simulation; compare all results.

    Raises `too-few-samples`, and what HlsSimulation raises.
    """
    too_few(samples, images)
    on_step("compile the HLS C++")
    simulation = HlsSimulation(plan, options, cache_folder=cache_folder, cxx_flags=cxx_flags)
    on_step(f"simulate {images} images")
    given, golden = golden_codes(plan, samples[:images])
    found = simulation.run(given)
    wrong = np.argwhere(found != golden)
    lines = [
        f"image {image}, element {place}: {found[image, place]}, expected {golden[image, place]}"
        for image, place in wrong[:SHOWN].tolist()
    ]
    if len(wrong) > SHOWN:
        lines.append(f"and {len(wrong) - SHOWN:,} more")
    types = str(options.ap_types or "")
    return HlsVerification(images, golden.size, len(wrong), options.dialect, types, "\n".join(lines))


def check_hls_network(network: RandomNetwork, options: HlsOptions = DEFAULT_OPTIONS) -> Finding:
    """Run some random images in C simulation."""
    plan = random_plan(network)
    samples = drawn_samples(plan.graph, IMAGES, network.seed)
    found = verify_hls(plan, samples, IMAGES, options, cxx_flags=QUICK_COMPILE)
    return Finding(network, found.mismatches, 0, found.findings, features(network, plan))
