"""Counts that the literature gives, found by our own cost code in imported networks."""

from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import nn

from bitkiln.frontend._aten import RULES
from bitkiln.frontend._lower import lower_counting
from bitkiln.frontend.layer_table import LayerTable, shape_table
from bitkiln.frontend.torch_import import import_module, read_module
from bitkiln.frontend.torchvision_shim import SkipInitialisation
from bitkiln.ir import Graph
from bitkiln.passes import Context, LayerDensity, Prune, run_passes
from bitkiln.sim.footprint import Footprint
from bitkiln.sim.graph_workload import workload_of
from bitkiln.sim.workload import Layer, LayerKind


def alexnet() -> nn.Module:
    """Krizhevsky et al. 2012, with its two groups, as Caffe has it."""
    return nn.Sequential(
        *(nn.Conv2d(3, 96, 11, 4), nn.ReLU(), nn.MaxPool2d(3, 2)),
        *(nn.Conv2d(96, 256, 5, padding=2, groups=2), nn.ReLU(), nn.MaxPool2d(3, 2)),
        *(nn.Conv2d(256, 384, 3, padding=1), nn.ReLU()),
        *(nn.Conv2d(384, 384, 3, padding=1, groups=2), nn.ReLU()),
        *(nn.Conv2d(384, 256, 3, padding=1, groups=2), nn.ReLU(), nn.MaxPool2d(3, 2), nn.Flatten()),
        *(nn.Linear(9216, 4096), nn.ReLU(), nn.Linear(4096, 4096), nn.ReLU(), nn.Linear(4096, 1000)),
    )


# Han et al. 2015, table 5: what is left of each layer's weights, of its output, and of its FLOP, in per cent.
VGG_PRUNED = (
    *(("conv1_1", 58, 53, 58), ("conv1_2", 22, 89, 12), ("conv2_1", 34, 80, 30), ("conv2_2", 36, 81, 29)),
    *(("conv3_1", 53, 68, 43), ("conv3_2", 24, 70, 16), ("conv3_3", 42, 64, 29), ("conv4_1", 32, 51, 21)),
    *(("conv4_2", 27, 45, 14), ("conv4_3", 34, 34, 15), ("conv5_1", 35, 32, 12), ("conv5_2", 29, 29, 9)),
    *(("conv5_3", 36, 19, 11), ("fc6", 4, 38, 1), ("fc7", 4, 42, 2), ("fc8", 23, 100, 9)),
)


def vgg16() -> nn.Module:
    """Simonyan and Zisserman 2015, configuration D."""
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    channels = 3
    for stage, (width, count) in enumerate(((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)), 1):
        for i in range(1, count + 1):
            layers[f"conv{stage}_{i}"] = nn.Conv2d(channels, width, 3, padding=1)
            layers[f"relu{stage}_{i}"] = nn.ReLU()
            channels = width
        layers[f"pool{stage}"] = nn.MaxPool2d(2)
    layers["flat"] = nn.Flatten()
    for name, features, outputs in (("fc6", 25088, 4096), ("fc7", 4096, 4096), ("fc8", 4096, 1000)):
        layers[name] = nn.Linear(features, outputs)
    return nn.Sequential(layers)


def mobilenet() -> nn.Module:
    """Howard et al. 2017, width 1; batch norm is left out, as the paper counts neither it nor biases."""
    layers: list[nn.Module] = [nn.Conv2d(3, 32, 3, 2, 1, bias=False)]
    plan = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *((512, 1),) * 5, (1024, 2), (1024, 1))
    channels = 32
    for width, stride in plan:
        layers.append(nn.Conv2d(channels, channels, 3, stride, 1, groups=channels, bias=False))
        layers.append(nn.Conv2d(channels, width, 1, bias=False))
        channels = width
    return nn.Sequential(*layers, nn.AvgPool2d(7), nn.Flatten(), nn.Linear(1024, 1000, bias=False))


class Inception(nn.Module):
    """Three parallel convolutions, each to all outputs; with `reduced`, the larger ones see that many channels."""

    def __init__(self, reduced: int = 0) -> None:
        super().__init__()
        self.branches = nn.ModuleList()
        for size in (1, 3, 5):
            same = {"padding": size // 2, "bias": False}
            first = nn.Conv2d(512, reduced, 1, bias=False) if reduced and size > 1 else nn.Identity()
            width = reduced if reduced and size > 1 else 512
            self.branches.append(nn.Sequential(first, nn.Conv2d(width, 1024, size, **same)))  # type: ignore[arg-type]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([branch(x) for branch in self.branches], 1)


def table_of(module: nn.Module, size: int, channels: int = 3) -> LayerTable:
    return shape_table(module.eval(), (1, channels, size, size), "net")


def untouched(build: Callable[[], nn.Module]) -> nn.Module:
    """The network without values: its memory is never taken."""
    with SkipInitialisation():
        return build().eval()


def test_alexnet_in_groups() -> None:
    table = table_of(untouched(alexnet), 227)
    assert (table.params, table.macs) == (60_965_224, 724_406_816)
    convolutions = [row.params for row in table.nodes if row.op == "conv2d"]
    assert convolutions == [34_848 + 96, 307_200 + 256, 884_736 + 384, 663_552 + 384, 442_368 + 256]


def test_vgg16() -> None:
    table = table_of(untouched(vgg16), 224)
    assert (table.params, table.macs) == (138_357_544, 15_470_264_320)


def test_vgg16_pruned() -> None:
    """FLOP % is weights % times the activation % of the layer before; 7.6 % of weights and 20.7 % of FLOP are left."""
    graph, _ = lower_counting(read_module(untouched(vgg16), (1, 3, 224, 224), "vgg16"), RULES)
    layers: list[Layer] = []
    before = 100
    for layer, (name, weights, output, flop) in zip(workload_of(graph).layers, VGG_PRUNED, strict=True):
        assert layer.name == name
        layers.append(
            replace(layer, weights=None, given_weight_density=weights / 100, given_activation_density=before / 100)
        )
        if name.startswith("conv"):  # the linear layers' figures are rounded from more digits than are printed
            assert 100 * layers[-1].executed_macs / layer.macs == pytest.approx(flop, abs=0.61)
        before = output
    weights_left = sum(layer.weight_count * layer.weight_density for layer in layers)
    assert weights_left / sum(layer.weight_count for layer in layers) == pytest.approx(0.076, abs=0.0005)
    macs = sum(layer.macs for layer in layers)
    assert sum(layer.executed_macs for layer in layers) / macs == pytest.approx(0.207, abs=0.0005)


def linear_layers(*sizes: int) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for inputs, outputs in itertools.pairwise(sizes):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return layers[:-1]


def lenet5() -> nn.Module:
    return nn.Sequential(
        *(nn.Conv2d(1, 20, 5), nn.MaxPool2d(2), nn.Conv2d(20, 50, 5), nn.MaxPool2d(2), nn.Flatten()),
        *linear_layers(800, 500, 10),
    )


@pytest.mark.parametrize(
    ("module", "shape", "densities", "params", "left"),
    [
        (nn.Sequential(nn.Flatten(), *linear_layers(784, 300, 100, 10)), (1, 28, 28), (8, 9, 26), 266_610, 21_776),
        (lenet5(), (1, 28, 28), (66, 12, 8, 19), 431_080, 36_280),
    ],
)
def test_deep_compression_of_lenets(
    module: nn.Module, shape: tuple[int, ...], densities: tuple[int, ...], params: int, left: int
) -> None:
    graph = import_module(module.eval(), (1, *shape), "lenet")
    assert graph.params == params
    names = [node.name for node in graph.nodes if node.op.name in ("linear", "conv2d")]
    entries = tuple(LayerDensity(name, share / 100) for name, share in zip(names, densities, strict=True))
    small = run_passes(graph, (Prune(layers=entries),), no_samples(graph))
    weights = {graph.node[name].args[1] for name in names}
    assert sum(row.nonzeros for row in Footprint.of(small).tensors if row.name in weights) == left


def no_samples(graph: Graph) -> Context:
    nothing = torch.zeros(0)
    return Context(nothing, nothing, nothing, 0, graph)


def test_inception_reduces_before_it_convolves() -> None:
    """Weights of 1x1, 3x3 and 5x5 from 512 to 1024 channels, and with 64 channels in between."""
    naive, reduced = (table_of(Inception(width), 1, 512) for width in (0, 64))
    assert (naive.params, reduced.params) == (18_350_080, 2_818_048)
    assert (naive.macs, reduced.macs) == (naive.params, reduced.params)


def test_mobilenet() -> None:
    table = table_of(untouched(mobilenet), 224)
    assert (table.macs, table.params) == (568_740_352, 4_209_088)


def test_xnor_speed_up() -> None:
    """64 c N / (c N + 64), for c = 256 channels and kernels of 3x3."""
    layer = Layer("conv", LayerKind.CONVOLUTION, 14, 14, 256, 1, (3, 3), padding=((1, 1), (1, 1)))
    assert layer.binary_speed_up() == pytest.approx(62.27, abs=0.005)
