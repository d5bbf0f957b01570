"""Small networks, each around one thing an importer can get wrong, and the comparison with eager PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import cast

import torch
from torch import Tensor, nn

from bitkiln.frontend.torch_import import import_module
from bitkiln.ir import Graph, evaluate, prune_dead

BATCH = 3
TOLERANCE = 1e-5  # relative to the largest output


class Forward(nn.Module):
    """A forward function with the modules it calls: `Forward(lambda m, x: m.a(x), a=nn.ReLU())`."""

    def __init__(self, function: Callable[..., object], **modules: nn.Module) -> None:
        super().__init__()
        self.function = function
        for name, module in modules.items():
            self.add_module(name, module)

    def forward(self, x: Tensor) -> object:
        return self.function(self, x)


def randomise(module: nn.Module) -> nn.Module:
    """Give `module` weights and statistics that hide nothing, and put it in evaluation mode."""
    for child in module.modules():
        if isinstance(child, nn.modules.batchnorm._BatchNorm) and child.running_mean is not None:
            assert child.running_var is not None
            child.running_mean.normal_()
            child.running_var.uniform_(0.5, 2.0)
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.dim() <= 1:
                parameter.normal_(mean=0.5)
    return module.eval()


def outputs(module: nn.Module, x: Tensor) -> list[Tensor]:
    """Eager outputs, flattened as the exporter flattens them."""
    with torch.no_grad():
        found = module(x)
    if isinstance(found, dict):
        return [cast("Tensor", value) for value in found.values()]
    return list(found) if isinstance(found, list | tuple) else [found]


def relative_error(found: Tensor, expected: Tensor) -> float:
    """Largest difference over the largest expected magnitude; the shapes must be equal."""
    assert found.shape == expected.shape
    return float((found - expected).abs().max() / expected.abs().max().clamp(min=1e-6))


def assert_equal_to_eager(graph: Graph, module: nn.Module, x: Tensor) -> None:
    """The Graph's outputs for the whole batch are those of `module`."""
    with torch.no_grad():
        found = evaluate(graph, x)
    expected = outputs(module, x.clone())
    assert len(found) == len(expected)
    for actual, wanted in zip(found, expected, strict=True):
        assert relative_error(actual, wanted.to(actual.dtype)) < TOLERANCE


class Many(nn.Module):
    """Several networks on the same input, so that one trace serves many tests."""

    def __init__(self, networks: Sequence[nn.Module]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)

    def forward(self, x: Tensor) -> list[Tensor]:
        return [network(x) for network in self.networks]


def import_many(networks: Sequence[nn.Module], shape: tuple[int, ...]) -> list[Graph]:
    """Import networks for one sample of `shape`, and return each one's part of the Graph."""
    graph = import_module(randomise(Many(networks)), (1, *shape), "net")
    return [prune_dead(replace(graph, outputs=(output,))) for output in graph.outputs]


def check_import(module: nn.Module, shape: tuple[int, ...]) -> Graph:
    """Import for one sample, compare on a batch of several, return the Graph."""
    randomise(module)
    graph = import_module(module, (1, *shape), "net")
    assert_equal_to_eager(graph, module, torch.randn(BATCH, *shape))
    return graph
