"""Samples, and what should go in and come out of a Plan's hardware for them, by the golden model."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from bitkiln.ir import Graph, Int, Plan, evaluate, fail, prune_dead, single_input

from .beats import Codes


def too_few(samples: Tensor, images: int) -> None:
    """Raise `too-few-samples` if there are fewer than are to be verified."""
    if len(samples) < images:
        message = f"{images} images are to be verified, but there are only {len(samples)} test samples"
        raise fail("too-few-samples", message, hint=f"at most images = {len(samples)}")


def golden_codes(plan: Plan, samples: Tensor, batch: int = 256) -> tuple[Codes, Codes]:
    """Return the codes that go in and the codes that must come out, both [images, elements] in the graph's order."""
    graph = prune_dead(replace(plan.graph, outputs=(plan.input_value, plan.output_value)))
    given, results = zip(
        *(_evaluated(graph, samples[i : i + batch]) for i in range(0, len(samples), batch)), strict=True
    )
    return np.concatenate(given), np.concatenate(results)


def _evaluated(graph: Graph, samples: Tensor) -> tuple[Codes, Codes]:
    with torch.no_grad():
        given, result = (value.reshape(len(samples), -1).to(torch.int64) for value in evaluate(graph, samples))
    return given.numpy(), result.numpy()


def drawn_samples(graph: Graph, count: int, seed: int) -> Tensor:
    """Return random samples: any codes, or values from 0 to 1 where the graph takes values."""
    type_ = single_input(graph).type
    generator, shape = torch.Generator().manual_seed(seed), (count, *type_.shape[1:])
    if isinstance(type_.number, Int):
        return torch.randint(type_.number.lo, type_.number.hi + 1, shape, generator=generator)
    return torch.rand(shape, generator=generator)
