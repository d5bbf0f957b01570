"""Checks of samples and labels at the border of the passes that read them."""

from __future__ import annotations

import torch
from torch import Tensor

from bitkiln.ir import Graph, fail, single_input


def check_samples(graph: Graph, x: Tensor, what: str) -> None:
    """Raise ToolError unless `x` is at least one finite sample of the graph's only input. `what` names the data."""
    expected = list(single_input(graph).type.shape[1:])
    if len(x) == 0:
        raise fail("empty-data", f"The {what} is empty; at least one sample {expected} is needed")
    if list(x.shape[1:]) != expected:
        raise fail(
            "input-mismatch",
            f"The {what} has samples of shape {list(x.shape[1:])}; {graph.name} takes {expected}",
        )
    bad = int((~torch.isfinite(x)).sum())
    if bad:
        raise fail(
            "not-finite",
            f"The {what} has {bad} NaN or infinite values of {x.numel()}",
            hint="check how the data are read and scaled",
        )


def check_labels(x: Tensor, y: Tensor, classes: int, what: str) -> None:
    """Raise ToolError unless `y` is one whole number from 0 to `classes` - 1 for each sample of `x`."""
    if y.dim() != 1 or len(y) != len(x):
        raise fail("bad-labels", f"The {what} has {len(x)} samples but labels of shape {list(y.shape)}")
    if y.is_floating_point() or y.dtype == torch.bool:
        raise fail("bad-labels", f"The labels of the {what} must be whole numbers, not {y.dtype}")
    low, high = int(y.min()), int(y.max())
    if low < 0 or high >= classes:
        raise fail(
            "bad-labels",
            f"The labels of the {what} go from {low} to {high}; the network has the classes 0 to {classes - 1}",
        )
