"""Small files of every kind that is imported, and what becomes of a changed one."""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from bitkiln.frontend.import_model import import_reference
from bitkiln.ir import Graph, ToolError, evaluate, load_graph, parse_graph, print_graph, save_graph
from tests.frontend.mutations import (
    mutated_archive,
    mutated_bytes,
    mutated_container,
    mutated_graph_file,
    mutated_onnx,
)
from tests.frontend.onnx_files import model, node
from tests.frontend.test_qonnx_import import QONNX, small_network

Mutation = Callable[[bytes, random.Random], bytes]


@dataclass(frozen=True)
class Seed:
    """The bytes of a good file, its suffix, and what changes it."""

    content: bytes
    suffix: str
    mutations: tuple[Mutation, ...]


class _Convolutions(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(2, 6, 3, padding="same"), nn.BatchNorm2d(6), nn.ReLU6(inplace=True))
        self.down = nn.Sequential(nn.MaxPool2d(2, ceil_mode=True), nn.Dropout(), nn.Conv2d(6, 6, 3, 1, 1, groups=6))
        self.head = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        first, second = self.down(self.stem(x)).chunk(2, 1)
        joined = torch.cat([first.sigmoid() * second, nn.functional.pad(first, (1, -1))], 1)
        return self.head(joined.mean((2, 3)))  # type: ignore[no-any-return]


class _Tokens(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.place = nn.Parameter(torch.randn(1, 4, 8))
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.norm = nn.LayerNorm(8)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.norm(x.reshape(-1, 4, 8) + self.place).roll(1, 1)
        return self.attention(tokens, tokens, tokens, need_weights=False)[0][:, 0].softmax(-1)  # type: ignore[no-any-return]


def seeds(folder: Path) -> list[Seed]:
    """Programs as exported and as decomposed, ONNX with floats and with quantisers, both forms of graph files."""
    torch.manual_seed(0)
    found: list[Seed] = []
    networks = ((_Convolutions().eval(), (1, 2, 7, 7)), (_Tokens().eval(), (1, 2, 4, 4)))
    for i, (network, shape) in enumerate(networks):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's remarks on itself
            exported = torch.export.export(network, (torch.zeros(shape),))
            programs = (exported, exported.run_decompositions({}))
            for j, program in enumerate(programs):
                path = folder / f"program{i}{j}.pt2"
                torch.export.save(program, path)
                found.append(
                    Seed(path.read_bytes(), ".pt2", (mutated_bytes, mutated_archive, mutated_archive, mutated_archive))
                )
    for content in _onnx_files():
        found.append(Seed(content, ".onnx", (mutated_bytes, mutated_onnx, mutated_onnx, mutated_onnx)))
    (folder / "seed.onnx").write_bytes(_onnx_files()[1])
    graphs = [import_reference(str(folder / name), None, None) for name in ("program00.pt2", "seed.onnx")]
    for graph in graphs:
        for suffix, *mutations in ((".graph", mutated_graph_file), (".kiln", mutated_bytes, mutated_container)):
            save_graph(graph, folder / f"seed{suffix}")
            found.append(Seed((folder / f"seed{suffix}").read_bytes(), suffix, tuple(mutations)))
    return found


def _onnx_files() -> list[bytes]:
    nodes, constants = small_network()
    quantised = model(nodes, (1, 3, 8, 8), constants, domains={QONNX: 2})
    generator = torch.Generator().manual_seed(0)
    weights = {
        "w": torch.randn(4, 2, 3, 3, generator=generator).numpy(),
        "m": torch.randn(24, 5, generator=generator).numpy(),
        "s": torch.tensor([0, -1]).numpy(),
        "a": torch.tensor(0.05).numpy(),
        "z": torch.tensor(3, dtype=torch.uint8).numpy(),
        "p": torch.tensor([0, 0, 1, 0, 0, 0, 0, 1]).numpy(),
    }
    steps = [
        node("QuantizeLinear", "x a z", "q"),
        node("DequantizeLinear", "q a z", "d"),
        node("Pad", "d p", "e"),
        node("Conv", "e w", "c", strides=[2, 2], pads=[1, 1, 0, 0]),
        node("Clip", "c _ a", "k"),
        node("AveragePool", "k", "v", kernel_shape=[2, 2], ceil_mode=1, count_include_pad=1),
        node("Reshape", "v s", "f"),
        node("MatMul", "f m", "n"),
        node("Softmax", "n", axis=-1),
    ]
    return [model(steps, (1, 2, 6, 7), weights).SerializeToString(), quantised.SerializeToString()]


_MOST_ELEMENTS = 200_000  # of a graph that is also run


def outcome(content: bytes, suffix: str, folder: Path) -> str:
    """Import a file: the slug of the Diagnostic, or `graph` if it is one that is printed, read and run like any other;
    whatever else is raised escapes."""
    path = folder / f"file{suffix}"
    path.write_bytes(content)
    try:
        graph = load_graph(path) if suffix in (".graph", ".kiln") else import_reference(str(path), None, None)
    except ToolError as error:
        return error.diagnostics[0].slug
    _use(graph)
    return "graph"


def _use(graph: Graph) -> None:
    parsed = parse_graph(print_graph(graph), {const.name: const.data for const in graph.consts})
    assert print_graph(parsed) == print_graph(graph)
    work = sum(type_.elements for type_ in graph.types.values()) + graph.total_macs
    if work < _MOST_ELEMENTS and all(value.type.is_float for value in graph.inputs):
        with torch.no_grad():
            found = evaluate(graph, *(torch.zeros(value.type.shape) for value in graph.inputs))
        assert [tuple(value.shape) for value in found] == [graph.types[name].shape for name in graph.outputs]
