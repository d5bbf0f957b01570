"""The same network through torch, `.pt2` and ONNX, as torch's own exporter writes it: the same text, equal outputs."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import logging
import warnings
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bitkiln.frontend.onnx_import import import_onnx
from bitkiln.frontend.pt2_import import import_pt2
from bitkiln.frontend.torch_import import import_module
from bitkiln.ir import Graph, Location, print_graph
from tests.frontend.micro_models import assert_equal_to_eager, randomise
from tests.frontend.onnx_files import anonymous

pytestmark = pytest.mark.slow
if importlib.util.find_spec("onnxscript") is None:
    pytest.skip("onnxscript, which torch.onnx.export needs, is not installed", allow_module_level=True)


class LeNet(nn.Module):
    """LeNet-5 with batch norm, and operations outside of layers."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(1, 6, 5, padding=2), nn.BatchNorm2d(6))
        self.second = nn.Sequential(nn.Conv2d(6, 16, 5, bias=False), nn.BatchNorm2d(16))
        self.head = nn.Sequential(nn.Linear(64, 24), nn.ReLU(), nn.Dropout(), nn.Linear(24, 10))

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.first(x)), 2)
        x = F.avg_pool2d(self.second(x).relu_(), 2)
        return F.log_softmax(self.head(torch.flatten(x, 1)), dim=1)


class Residual(nn.Module):
    """A block of ResNet, with a convolution in the shortcut."""

    def __init__(self, channels: int, out: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(channels, out, 3, stride, 1, bias=False), nn.BatchNorm2d(out)
        self.conv2, self.norm2 = nn.Conv2d(out, out, 3, 1, 1, bias=False), nn.BatchNorm2d(out)
        self.short = nn.Sequential(nn.Conv2d(channels, out, 1, stride, bias=False), nn.BatchNorm2d(out))

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm2(self.conv2(F.relu(self.norm1(self.conv1(x)))))
        return F.relu(y + self.short(x))


class Inverted(nn.Module):
    """A block of MobileNet v3: depthwise convolution, squeeze and excitation, hard activations."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.wide = nn.Sequential(nn.Conv2d(channels, hidden, 1, bias=False), nn.BatchNorm2d(hidden), nn.Hardswish())
        self.deep = nn.Sequential(
            nn.Conv2d(hidden, hidden, 5, 1, 2, groups=hidden, bias=False), nn.BatchNorm2d(hidden), nn.ReLU6()
        )
        self.squeeze, self.excite = nn.Conv2d(hidden, 4, 1), nn.Conv2d(4, hidden, 1)
        self.narrow = nn.Sequential(nn.Conv2d(hidden, channels, 1, bias=False), nn.BatchNorm2d(channels))

    def forward(self, x: Tensor) -> Tensor:
        y = self.deep(self.wide(x))
        gate = F.hardsigmoid(self.excite(F.relu(self.squeeze(F.adaptive_avg_pool2d(y, 1)))))
        return x + self.narrow(y * gate)  # type: ignore[no-any-return]


class Shuffled(nn.Module):
    """A block of ShuffleNet v2: half of the channels go by, then all are shuffled."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.branch = nn.Sequential(nn.Conv2d(half, half, 1, bias=False), nn.BatchNorm2d(half), nn.ReLU(inplace=True))

    def forward(self, x: Tensor) -> Tensor:
        kept, changed = x.chunk(2, dim=1)
        return F.channel_shuffle(torch.cat([kept, self.branch(changed)], 1), 2)


class Block(nn.Module):
    def __init__(self, size: int) -> None:
        super().__init__()
        self.norm1, self.qkv, self.out = nn.LayerNorm(size), nn.Linear(size, 3 * size), nn.Linear(size, size)
        self.norm2 = nn.LayerNorm(size)
        self.mlp = nn.Sequential(nn.Linear(size, 2 * size), nn.GELU(), nn.Linear(2 * size, size))

    def forward(self, x: Tensor) -> Tensor:
        batch, tokens, size = x.shape
        split = self.qkv(self.norm1(x)).reshape(batch, tokens, 3, 4, size // 4).permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(split[0], split[1], split[2])
        x = x + self.out(attended.transpose(1, 2).reshape(batch, tokens, size))
        return x + self.mlp(self.norm2(x))  # type: ignore[no-any-return]


class VisionTransformer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 16, 4, 4)
        self.token, self.places = nn.Parameter(torch.zeros(1, 1, 16)), nn.Parameter(torch.zeros(1, 5, 16))
        self.blocks = nn.Sequential(Block(16), Block(16))
        self.norm, self.head = nn.LayerNorm(16), nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.token.expand(len(x), -1, -1), tokens], 1) + self.places
        return self.head(self.norm(self.blocks(tokens))[:, 0])  # type: ignore[no-any-return]


def multilayer() -> nn.Module:
    return nn.Sequential(
        nn.Flatten(), nn.Linear(64, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 10), nn.Sigmoid()
    )


@dataclass(frozen=True)
class Doors:
    """One network as each door gave it."""

    network: nn.Module
    shape: tuple[int, ...]
    torch: Graph
    pt2: Graph
    onnx: Graph

    def assert_equal_outputs(self) -> None:
        x = torch.randn(3, *self.shape)
        for graph in (self.torch, self.pt2, self.onnx):
            assert_equal_to_eager(graph, self.network, x)


def through(network: nn.Module, shape: tuple[int, ...], folder: Path) -> Doors:
    randomise(network)
    sample = torch.randn(1, *shape)
    logging.disable(logging.CRITICAL)
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")  # the exporters' remarks on themselves
        torch.export.save(torch.export.export(network, (sample,)), folder / "net.pt2")
        torch.onnx.export(network, (sample,), str(folder / "net.onnx"), dynamo=True, verbose=False)
    logging.disable(logging.NOTSET)
    return Doors(
        network,
        shape,
        import_module(network, (1, *shape), "net"),
        import_pt2(folder / "net.pt2"),
        import_onnx(folder / "net.onnx"),
    )


def text(graph: Graph) -> str:
    """The graph's text without places: only the torch door was told the model's file."""
    return print_graph(replace(graph, nodes=tuple(replace(node, loc=Location()) for node in graph.nodes)))


@pytest.mark.parametrize(
    ("network", "shape"),
    [
        (multilayer(), (1, 8, 8)),
        (LeNet(), (1, 16, 16)),
        (nn.Sequential(Residual(3, 8, 2), Residual(8, 8, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()), (3, 8, 8)),
        (nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), Inverted(8, 24), nn.AdaptiveAvgPool2d(2)), (3, 8, 8)),
        (nn.Sequential(nn.Conv2d(3, 8, 3), Shuffled(8), Shuffled(8)), (3, 8, 8)),
    ],
    ids=["mlp", "lenet", "resnet", "mobilenet", "shufflenet"],
)
def test_the_same_text_and_outputs(network: nn.Module, shape: tuple[int, ...], tmp_path: Path) -> None:
    doors = through(network, shape, tmp_path)
    assert text(doors.pt2) == text(doors.torch)
    assert text(doors.onnx) == text(doors.torch)
    doors.assert_equal_outputs()


def test_a_transformer_differs_in_names_only(tmp_path: Path) -> None:
    """Torch's exporter computes constants, whose names it makes up; attention is one operation through each door."""
    doors = through(VisionTransformer(), (3, 8, 8), tmp_path)
    assert text(doors.pt2) == text(doors.torch)
    assert print_graph(anonymous(doors.onnx)) == print_graph(anonymous(doors.torch))
    assert sum(node.op.name == "attention" for node in doors.onnx.nodes) == 2
    doors.assert_equal_outputs()
