from __future__ import annotations

import torch

from bitkiln.ir.ops import OPS
from bitkiln.ir.ops._base import floor


def test_names_are_unique() -> None:
    names = [op.name for op in OPS]
    assert sorted(names) == sorted(set(names))


def test_floor_passes_the_gradient_straight_through() -> None:
    x = torch.tensor([-1.5, -1.0, 0.2, 7.9], requires_grad=True)
    y = floor(x)
    assert y.tolist() == [-2.0, -1.0, 0.0, 7.0]
    (y * torch.tensor([1.0, 2.0, 3.0, 4.0])).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [1.0, 2.0, 3.0, 4.0]


def test_floor_without_gradient() -> None:
    assert not floor(torch.tensor([0.5])).requires_grad
